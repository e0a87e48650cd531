//! What is built is read again, in every codec, at every cut.

use _native::wire::{BatchBuilder, BatchHeader, Built, Codec, Scratch, headers, read, stamp};

const NOW_MS: i64 = 1_790_000_000_000;

type Row = (Option<Vec<u8>>, Option<Vec<u8>>);

fn build(codec: Codec, bytes_max: usize, rows: &[Row], scratch: &mut Scratch) -> Vec<Built> {
    let mut builder = BatchBuilder::new(codec, NOW_MS, bytes_max);
    for (key, value) in rows {
        builder.begin(key.as_deref(), value.as_ref().map(Vec::len));
        for piece in value.as_deref().unwrap_or_default().chunks(37) {
            builder.hint();
            builder.put(piece);
        }
        builder.end();
    }
    builder.finish(scratch)
}

fn read_again(built: &mut [Built], scratch: &mut Scratch) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in built {
        assert!(batch.buffer.len() <= batch.plain_bytes);
        stamp(&mut batch.buffer, 4711, 3, 12, true);
        let found: Vec<_> = headers(&batch.buffer).collect();
        let [(range, header)] = &found[..] else { panic!("one batch") };
        assert_eq!((range.len(), header.records), (batch.buffer.len(), batch.records));
        let records = read(&batch.buffer, header, scratch).expect("it is readable");
        for (at, frame) in records.frames.iter().enumerate() {
            assert_eq!(records.offset(frame), at as i64);
            rows.push((frame.key(records.plain).map(Vec::from), frame.value(records.plain).map(Vec::from)));
        }
    }
    rows
}

fn rows(count: usize, value_len: impl Fn(usize) -> usize) -> Vec<Row> {
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    let mut some = |len: usize| -> Vec<u8> {
        (0..len)
            .map(|at| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                if at % 40 < 25 { b"the same words again and again"[at % 25] } else { noise as u8 }
            })
            .collect()
    };
    (0..count)
        .map(|at| {
            let key = (at % 5 != 0).then(|| some(at % 70));
            let value = (at % 7 != 3).then(|| some(value_len(at)));
            (key, value)
        })
        .collect()
}

#[test]
fn every_codec_gives_back_every_record() {
    let mut scratch = Scratch::default();
    for codec in Codec::ALL {
        for (count, bytes_max, size) in
            [(1, 1000, 10), (700, 2000, 150), (3000, 900_000, 400), (40, 1_000_000, 70_000), (9, 6_000_000, 1_300_000)]
        {
            let rows = rows(count, |at| at * 7919 % size);
            let mut built = build(codec, bytes_max, &rows, &mut scratch);
            assert!(built.iter().all(|batch| batch.records == 1 || batch.plain_bytes <= bytes_max), "{codec:?}");
            assert!(read_again(&mut built, &mut scratch) == rows, "{codec:?} {count}");
        }
    }
}

#[test]
fn a_record_at_the_bound_fits_and_one_byte_more_is_cut() {
    let mut scratch = Scratch::default();
    let one: Row = (Some(b"k".to_vec()), Some(vec![b'x'; 50]));
    let (all, each) = (61 + 2 * 58, 58);
    let row = [one.clone(), one];
    assert_eq!(build(Codec::None, all, &row, &mut scratch).len(), 1);
    assert_eq!(build(Codec::None, all - 1, &row, &mut scratch).iter().map(|batch| batch.plain_bytes).collect::<Vec<_>>(), [61 + each; 2]);
}

#[test]
fn what_does_not_shrink_stays_as_it_is() {
    let mut scratch = Scratch::default();
    for codec in Codec::ALL {
        let built = build(codec, 1000, &[(None, Some(b"a".to_vec()))], &mut scratch);
        let header = BatchHeader::of(&built[0].buffer).expect("a header");
        assert_eq!((header.codec(), header.attributes, header.last_offset_delta), (Some(Codec::None), 0, 0));
    }
    assert!(build(Codec::Zstd, 1000, &[], &mut scratch).is_empty());
}

#[test]
#[should_panic(expected = "pieces")]
fn a_value_that_is_not_put_whole_is_a_bug_that_is_never_sent() {
    let mut builder = BatchBuilder::new(Codec::None, NOW_MS, 1000);
    builder.begin(None, Some(3));
    builder.put(b"ab");
    builder.end();
}
