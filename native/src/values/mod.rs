//! Single Avro values: tests of row conditions, transforms, identifiers' normal forms and their pseudonyms.
