// Peer: the loop that a good engineer would write in Go, on franz-go and hamba/avro.
//
// One goroutine decodes the seven fields that the job needs (hamba skips the others), decides, encodes and hands over to the client,
// which batches and sends on its own goroutines. What is the same for every agreement is done once a record. Values are written into
// arenas and records into slabs, so that the garbage collector has little to do. Offsets are committed after everything that was
// produced is acknowledged: at least once. With -eos each cycle is a transaction of a GroupTransactSession instead.
//
// It prints one line of JSON at its end, see peers/job.py; beside what that tells, how many transactions were committed.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash"
	"os"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	outputPartitions = 4
	pollRecords      = 20_000
	commitEvery      = 2 * time.Second
	dayMs            = 86_400_000
	headerBytes      = 5
	arenaBytes       = 1 << 18
	slabRecords      = 1 << 10
	keepFirst        = 3
	keepLast         = 2
)

type agreement struct {
	ID        string   `json:"id"`
	Topic     string   `json:"topic"`
	SchemaID  uint32   `json:"schema_id"`
	Districts []string `json:"districts"`
	Key       string   `json:"key"`

	admitted map[string]struct{}
	mac      hash.Hash
	count    int64
}

type terms struct {
	AgeMin     int             `json:"age_min"`
	Source     json.RawMessage `json:"source"`
	Shared     json.RawMessage `json:"shared"`
	Agreements []*agreement    `json:"agreements"`
}

type observation struct {
	CitizenID  string   `avro:"citizen_id"`
	FullName   string   `avro:"full_name"`
	Age        int      `avro:"age"`
	District   string   `avro:"district"`
	Vehicle    string   `avro:"vehicle"`
	SpeedKmh   *float64 `avro:"speed_kmh"`
	ObservedAt int64    `avro:"observed_at"`
}

type shared struct {
	CitizenID  string   `avro:"citizen_id"`
	FullName   string   `avro:"full_name"`
	District   string   `avro:"district"`
	Vehicle    string   `avro:"vehicle"`
	SpeedKmh   *float64 `avro:"speed_kmh"`
	ObservedAt int64    `avro:"observed_at"`
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// plain returns a schema without logical types, whose bytes are the same: hamba would make objects of times.
func plain(schema json.RawMessage) string {
	var record map[string]any
	must(json.Unmarshal(schema, &record))
	for _, one := range record["fields"].([]any) {
		field := one.(map[string]any)
		if kind, ok := field["type"].(map[string]any); ok && kind["logicalType"] != nil {
			field["type"] = kind["type"]
		}
	}
	text, err := json.Marshal(record)
	must(err)
	return string(text)
}

// masked appends name to buf with all but the first three and the last two characters as stars.
func masked(name string, buf []byte) []byte {
	count := utf8.RuneCountInString(name)
	if count <= keepFirst+keepLast {
		for range count {
			buf = append(buf, '*')
		}
		return buf
	}
	head, tail := 0, len(name)
	for range keepFirst {
		_, width := utf8.DecodeRuneInString(name[head:])
		head += width
	}
	for range keepLast {
		_, width := utf8.DecodeLastRuneInString(name[:tail])
		tail -= width
	}
	buf = append(buf, name[:head]...)
	for range count - keepFirst - keepLast {
		buf = append(buf, '*')
	}
	return append(buf, name[tail:]...)
}

// loop is the state of the one goroutine that decides.
type loop struct {
	client *kgo.Client
	told   terms
	source avro.Schema
	shared avro.Schema

	reader *avro.Reader
	writer *avro.Writer
	in     observation
	out    shared
	sum    [sha256.Size]byte
	digits [2 * 16]byte
	mask   []byte
	text   []byte
	arena  []byte
	slab   []kgo.Record
	failed atomic.Int64
}

// place copies a framed value to where it can stay until it is sent.
func (l *loop) place(schemaID uint32, body []byte) []byte {
	if cap(l.arena)-len(l.arena) < headerBytes+len(body) {
		l.arena = make([]byte, 0, arenaBytes)
	}
	begin := len(l.arena)
	l.arena = append(l.arena, 0)
	l.arena = binary.BigEndian.AppendUint32(l.arena, schemaID)
	l.arena = append(l.arena, body...)
	return l.arena[begin:len(l.arena):len(l.arena)]
}

func (l *loop) record() *kgo.Record {
	if len(l.slab) == cap(l.slab) {
		l.slab = make([]kgo.Record, 0, slabRecords)
	}
	l.slab = l.slab[:len(l.slab)+1]
	return &l.slab[len(l.slab)-1]
}

func (l *loop) produced(_ *kgo.Record, err error) {
	if err != nil {
		l.failed.Add(1)
	}
}

// deliver does the whole job for one source record.
func (l *loop) deliver(ctx context.Context, record *kgo.Record, partition int32) {
	if record.Value[0] != 0 {
		must(errors.New("not in Confluent framing"))
	}
	l.in.SpeedKmh = nil
	l.reader.Reset(record.Value[headerBytes:])
	l.reader.ReadVal(l.source, &l.in)
	must(l.reader.Error)
	if l.in.Age < l.told.AgeMin {
		return
	}
	ready := false
	for _, one := range l.told.Agreements {
		if _, ok := one.admitted[l.in.District]; !ok {
			continue
		}
		if !ready {
			ready = true
			l.mask = masked(l.in.FullName, l.mask[:0])
			l.text = append(l.text[:0], l.in.CitizenID...)
			l.out = shared{"", string(l.mask), l.in.District, l.in.Vehicle, l.in.SpeedKmh, l.in.ObservedAt - l.in.ObservedAt%dayMs}
		}
		one.mac.Reset()
		one.mac.Write(l.text)
		one.mac.Sum(l.sum[:0])
		hex.Encode(l.digits[:], l.sum[:16])
		l.out.CitizenID = string(l.digits[:])
		l.writer.Reset(nil)
		l.writer.WriteVal(l.shared, &l.out)
		must(l.writer.Error)
		sent := l.record()
		sent.Topic, sent.Partition, sent.Key = one.Topic, partition, record.Key
		sent.Value = l.place(one.SchemaID, l.writer.Buffer())
		l.client.Produce(ctx, sent, l.produced)
		one.count++
	}
}

func main() {
	bootstrap := flag.String("bootstrap", "", "host:port")
	topic := flag.String("topic", "", "source topic")
	group := flag.String("group", "", "consumer group")
	file := flag.String("terms", "", "file of terms")
	codec := flag.String("codec", "none", "none, lz4 or zstd")
	expect := flag.Int64("expect", 0, "records to read")
	eos := flag.Bool("eos", false, "exactly once, by transactions")
	flag.Parse()

	text, err := os.ReadFile(*file)
	must(err)
	l := &loop{reader: avro.NewReader(nil, 0), writer: avro.NewWriter(nil, 512)}
	must(json.Unmarshal(text, &l.told))
	l.source, err = avro.ParseWithCache(plain(l.told.Source), "", &avro.SchemaCache{})
	must(err)
	l.shared, err = avro.ParseWithCache(plain(l.told.Shared), "", &avro.SchemaCache{})
	must(err)
	for _, one := range l.told.Agreements {
		key, err := hex.DecodeString(one.Key)
		must(err)
		one.mac = hmac.New(sha256.New, key)
		one.admitted = make(map[string]struct{}, len(one.Districts))
		for _, district := range one.Districts {
			one.admitted[district] = struct{}{}
		}
	}

	compression := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	options := []kgo.Opt{
		kgo.SeedBrokers(*bootstrap), kgo.ConsumerGroup(*group), kgo.ConsumeTopics(*topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond), kgo.FetchMinBytes(1 << 16),
		kgo.FetchMaxPartitionBytes(1 << 20), kgo.FetchMaxBytes(32 << 20), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(compression[*codec]), kgo.ProducerBatchMaxBytes(1_000_000), kgo.ProducerLinger(10 * time.Millisecond),
		kgo.MaxBufferedRecords(1 << 20), kgo.MaxBufferedBytes(256 << 20),
	}
	ctx := context.Background()
	var session *kgo.GroupTransactSession
	if *eos {
		options = append(options, kgo.TransactionalID(*group+"-tx"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets())
		session, err = kgo.NewGroupTransactSession(options...)
		must(err)
		l.client = session.Client()
	} else {
		l.client, err = kgo.NewClient(options...)
		must(err)
	}
	begun := false // a transaction is open
	var transactions int64
	poll := func() kgo.Fetches {
		if session != nil {
			return session.PollRecords(ctx, pollRecords)
		}
		return l.client.PollRecords(ctx, pollRecords)
	}
	commit := func() {
		if session == nil {
			must(l.client.Flush(ctx))
			must(l.client.CommitUncommittedOffsets(ctx))
			return
		}
		if !begun {
			return
		}
		committed, err := session.End(ctx, kgo.TryCommit)
		must(err)
		if !committed {
			must(errors.New("a transaction was aborted"))
		}
		begun = false
		transactions++
	}

	var records int64
	var began time.Time
	committed := time.Now()
	for records < *expect {
		fetches := poll()
		if failures := fetches.Errors(); len(failures) > 0 {
			must(failures[0].Err)
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if records == 0 {
			began = time.Now()
		}
		if session != nil && !begun {
			must(session.Begin())
			begun = true
		}
		fetches.EachPartition(func(found kgo.FetchTopicPartition) {
			for _, record := range found.Records {
				l.deliver(ctx, record, found.Partition%outputPartitions)
			}
			records += int64(len(found.Records))
		})
		if time.Since(committed) > commitEvery {
			commit()
			committed = time.Now()
		}
	}
	commit()
	ended := time.Now()
	if l.failed.Load() > 0 {
		must(errors.New("not everything was acknowledged"))
	}
	counts := map[string]int64{}
	for _, one := range l.told.Agreements {
		counts[one.ID] = one.count
	}
	line, err := json.Marshal(map[string]any{
		"begin_ms": float64(began.UnixMicro()) / 1000, "end_ms": float64(ended.UnixMicro()) / 1000, "records": records, "counts": counts,
		"transactions": transactions,
	})
	must(err)
	fmt.Println(string(line))
	l.client.Close()
}
