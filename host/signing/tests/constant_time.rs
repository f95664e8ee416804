//! Whether the time of a refusal tells how much of a signature was right (after Reparaz, Balasch and Verbauwhede, "Dude, is my
//! code constant time?", 2017: two classes of input in random order, Welch's t-test over the times).
//!
//! Ignored by default: it measures, so it wants a machine to itself. Run it with
//! `cargo test --release -p opsiq-signing --test constant_time -- --ignored`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method};
use opsiq_signing::{KeyId, Presented, Request, SIGNATURE, sign_request};
use opsiq_vault::Secret;

const SAMPLES: usize = 400_000;
/// Times above this part of all are noise of the machine.
const KEPT: f64 = 0.9;

fn presented(mac: &[u8; 32], headers: &HeaderMap) -> Presented {
    use base64::Engine as _;
    let mut headers = headers.clone();
    let text = format!("opsiq=:{}:", base64::engine::general_purpose::STANDARD.encode(mac));
    headers.insert(SIGNATURE, HeaderValue::from_str(&text).unwrap());
    Presented::read(&request(&headers)).unwrap()
}

fn request(headers: &HeaderMap) -> Request<'_> {
    Request { method: &Method::POST, target_uri: "https://h/", headers, body: b"{}" }
}

/// Welch's t over the times of two classes, in random order.
fn t(mut of: impl FnMut(bool)) -> f64 {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut times: Vec<(bool, f64)> = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let class = seed & 1 == 1;
        let began = Instant::now();
        of(class);
        #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a short call")]
        times.push((class, began.elapsed().as_nanos() as f64));
    }
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let most = sorted[(SAMPLES as f64 * KEPT) as usize];
    let stats = |class: bool| {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for (_, time) in times.iter().filter(|(of, time)| *of == class && *time <= most) {
            count += 1.0;
            let delta = time - mean;
            mean += delta / count;
            squares += delta * (time - mean);
        }
        (count, mean, squares / (count - 1.0))
    };
    let ((n, a, var_a), (m, b, var_b)) = (stats(false), stats(true));
    ((a - b) / (var_a / n + var_b / m).sqrt()).abs()
}

#[test]
#[ignore = "measures; wants a machine to itself"]
fn a_refusal_takes_the_same_time_wherever_the_signature_is_wrong() {
    let key_id: KeyId = "acme/till/1".parse().unwrap();
    let secret = Secret::from(b"0123456789abcdef0123456789abcdef".to_vec());
    let unsigned = HeaderMap::new();
    let fields = sign_request(&request(&unsigned), &key_id, &secret, 1_700_000_000, "0123456789abcdef").unwrap();
    let headers: HeaderMap = fields.into_iter().collect();
    let right: [u8; 32] = {
        use base64::Engine as _;
        let text = headers[SIGNATURE].to_str().unwrap();
        let text = text.trim_start_matches("opsiq=:").trim_end_matches(':');
        base64::engine::general_purpose::STANDARD.decode(text).unwrap().try_into().unwrap()
    };
    let (mut first, mut last) = (right, right);
    first[0] ^= 1;
    last[31] ^= 1;
    let (first, last) = (presented(&first, &headers), presented(&last, &headers));
    let found = t(|class| {
        let presented = if class { &first } else { &last };
        assert!(black_box(presented.is_made_with(&secret)).is_err());
    });
    assert!(found < 5.0, "t = {found}");
    // The twin: a comparison that stops at the first difference is found out.
    let (a, mut b) = (vec![0_u8; 4096], vec![0_u8; 4096]);
    b[0] = 1;
    let twin = t(|class| {
        let other = if class { &a } else { &b };
        black_box(black_box(&a).iter().zip(black_box(other)).all(|(x, y)| x == y));
    });
    assert!(twin > 5.0, "the test cannot fail: t = {twin}");
}
