//! Content codings of answers: none, or gzip, decoded in small steps.
//!
//! A gzip stream can grow a thousandfold, so compressed bytes are fed a little at a time and the caller counts what
//! comes out before feeding more.

use std::borrow::Cow;
use std::io::Write as _;

use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Compressed bytes fed in one step: at most about 1 MiB comes out of them.
const STEP: usize = 1_024;

/// The answer's bytes are not what its headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undecodable;

/// A body on its way from its coding to plain bytes.
pub(crate) enum Decoder {
    /// As it comes.
    Plain,
    /// gzip (RFC 1952), all members.
    Gzip {
        /// Holds decoded bytes until they are taken.
        inner: Box<MultiGzDecoder<Vec<u8>>>,
        /// Whether a byte was fed: an empty body is no gzip stream and decodes to nothing.
        begun: bool,
    },
}

impl Decoder {
    /// The decoder for an answer's headers. A coding that was not asked for is refused.
    pub(crate) fn for_headers(headers: &HeaderMap) -> Result<Self, Undecodable> {
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        match (codings.next(), codings.next()) {
            (None, _) => Ok(Self::Plain),
            (Some(one), None) => match one.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" => Ok(Self::Plain),
                b"gzip" | b"x-gzip" => {
                    Ok(Self::Gzip { inner: Box::new(MultiGzDecoder::new(Vec::new())), begun: false })
                }
                _ => Err(Undecodable),
            },
            (Some(_), Some(_)) => Err(Undecodable),
        }
    }

    /// Whether bytes are changed.
    pub(crate) fn decodes(&self) -> bool {
        matches!(self, Self::Gzip { .. })
    }

    /// Decodes one step of `input`, which is not empty, and says how much of it was used (at least one byte).
    pub(crate) fn step<'i>(&mut self, input: &'i [u8]) -> Result<(usize, Cow<'i, [u8]>), Undecodable> {
        match self {
            Self::Plain => Ok((input.len(), Cow::Borrowed(input))),
            Self::Gzip { inner, begun } => {
                *begun = true;
                let step = &input[..input.len().min(STEP)];
                inner.write_all(step).map_err(|_| Undecodable)?;
                Ok((step.len(), Cow::Owned(std::mem::take(inner.get_mut()))))
            }
        }
    }

    /// The end of the input: what remains, or that the stream was cut short.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, Undecodable> {
        match self {
            Self::Gzip { inner, begun: true } => {
                inner.try_finish().map_err(|_| Undecodable)?;
                Ok(std::mem::take(inner.get_mut()))
            }
            Self::Plain | Self::Gzip { begun: false, .. } => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn decoder(codings: &[&'static str]) -> Result<Decoder, Undecodable> {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        Decoder::for_headers(&headers)
    }

    fn decoded(mut input: &[u8]) -> Result<Vec<u8>, Undecodable> {
        let mut decoder = decoder(&["gzip"])?;
        let mut out = Vec::new();
        while !input.is_empty() {
            let (used, plain) = decoder.step(input)?;
            assert!(plain.len() <= 2 << 20, "one step is bounded");
            out.extend_from_slice(&plain);
            input = &input[used..];
        }
        out.extend(decoder.finish()?);
        Ok(out)
    }

    #[test]
    fn gzip_comes_back_plain() {
        let plain: Vec<u8> = (0..200_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_be_bytes()).collect();
        assert_eq!(decoded(&gzip(&plain)).unwrap(), plain);
        assert_eq!(decoded(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(), b"one two");
        assert_eq!(decoded(&gzip(b"")).unwrap(), b"");
        assert_eq!(decoded(b"").unwrap(), b"");
    }

    #[test]
    fn a_bomb_comes_out_in_bounded_steps() {
        assert_eq!(decoded(&gzip(&vec![0; 20 << 20])).unwrap().len(), 20 << 20);
    }

    #[test]
    fn a_cut_or_altered_stream_is_refused() {
        let whole = gzip(b"the whole answer, and nothing but the answer");
        assert_eq!(decoded(&whole[..whole.len() - 1]), Err(Undecodable));
        assert_eq!(decoded(&whole[..12]), Err(Undecodable));
        assert_eq!(decoded(b"no gzip at all"), Err(Undecodable));
        let mut altered = whole.clone();
        let at = altered.len() - 6;
        altered[at] ^= 1;
        assert_eq!(decoded(&altered), Err(Undecodable));
        assert_eq!(decoded(&[whole, b"tail".to_vec()].concat()), Err(Undecodable));
    }

    #[test]
    fn only_asked_for_codings() {
        assert!(!decoder(&[]).unwrap().decodes());
        assert!(!decoder(&["identity"]).unwrap().decodes());
        assert!(decoder(&["GZIP"]).unwrap().decodes());
        for bad in [&["br"] as &[_], &["deflate"], &["gzip, gzip"], &["gzip", "gzip"], &["zstd"]] {
            assert!(decoder(bad).is_err(), "{bad:?}");
        }
    }
}
