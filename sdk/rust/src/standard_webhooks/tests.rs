use super::*;
use crate::Context;
use crate::testing::Host;

/// The example of the reference implementations: secret `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`, decoded.
const SECRET: [u8; 24] = [
    0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a, 0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c, 0xf6, 0x48, 0xa3,
    0x62, 0xda, 0x2d, 0xa4, 0xb0,
];

#[test]
fn the_reference_vector() {
    let host = Host::new().key("signing", &SECRET);
    let signature = host.run(|| {
        let key = Context::<()>::new().key("signing").unwrap();
        signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#)
    });
    assert!(matches!(signature, Ok(text) if text == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
}

#[test]
fn every_message_has_its_own_id() {
    let host = Host::new().key("signing", &SECRET);
    let ids = host.run(|| {
        let key = Context::<()>::new().key("signing").unwrap();
        [(); 2].map(|()| headers(&key, b"").unwrap()[0].1.clone())
    });
    assert_ne!(ids[0], ids[1]);
    assert!(ids[0].starts_with("msg_") && ids[0].len() == 36, "{}", ids[0]);
}
