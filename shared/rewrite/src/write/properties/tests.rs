use super::*;

fn with(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn codecs_and_levels() {
    let codec = |pairs: &[(&str, &str)]| compression(&with(pairs));
    const CODEC: &str = "write.parquet.compression-codec";
    const LEVEL: &str = "write.parquet.compression-level";
    let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap());
    assert_eq!(codec(&[]).unwrap(), zstd(3));
    assert_eq!(codec(&[(LEVEL, "1")]).unwrap(), zstd(1));
    assert_eq!(
        codec(&[(CODEC, "GZIP"), (LEVEL, "9")]).unwrap(),
        Compression::GZIP(GzipLevel::try_new(9).unwrap())
    );
    assert_eq!(
        codec(&[(CODEC, "uncompressed")]).unwrap(),
        Compression::UNCOMPRESSED
    );
    assert!(codec(&[(LEVEL, "99")]).is_err());
    assert!(codec(&[(CODEC, "gzip"), (LEVEL, "-1")]).is_err());
}

/// A split-block filter of `n` values is `-8n / ln(1 - p^(1/8))` bits, rounded up to a power of two of bytes.
#[test]
fn bloom_filters_fill_the_bytes_they_may_have() {
    for (bytes, rate) in [(1u64 << 20, 0.01), (64 << 10, 0.1), (32, 0.01)] {
        let values = distinct_values(bytes, rate) as f64;
        let bits = -8.0 * values / (1.0 - rate.powf(1.0 / 8.0)).ln();
        let rounded = ((bits / 8.0) as u64).next_power_of_two();
        assert!(rounded <= bytes, "{bytes} {rate} {rounded}");
        assert!(bytes < 1024 || rounded == bytes, "{bytes} {rate} {rounded}");
    }
}
