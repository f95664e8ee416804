//! The picture an authenticator scans: as SVG for a page, as blocks for a terminal.

use qrcode::render::{svg, unicode};
use qrcode::{EcLevel, QrCode};

/// The text does not fit a QR code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text does not fit a QR code")]
pub struct QrError;

/// As an SVG document without scripts, references or style sheets, at least 240 units wide.
///
/// # Errors
/// [`QrError`].
pub fn qr_svg(text: &str) -> Result<String, QrError> {
    Ok(code(text)?.render::<svg::Color<'_>>().min_dimensions(240, 240).build())
}

/// As lines of blocks, two rows of the picture to a line. Dark on light, as scanners expect, on a dark terminal.
///
/// # Errors
/// [`QrError`].
pub fn qr_terminal(text: &str) -> Result<String, QrError> {
    let code = code(text)?;
    let mut drawn = code.render::<unicode::Dense1x2>();
    Ok(drawn.dark_color(unicode::Dense1x2::Light).light_color(unicode::Dense1x2::Dark).build())
}

fn code(text: &str) -> Result<QrCode, QrError> {
    QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M).map_err(|_| QrError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_picture_that_does_nothing_else() {
        let svg = qr_svg("otpauth://totp/OpsIQ:acme?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=OpsIQ").unwrap();
        assert!(svg.starts_with("<?xml") && svg.ends_with("</svg>"));
        assert!(!svg.contains("script") && !svg.contains("href") && !svg.contains("GEZDGN"));
        let lines = qr_terminal("otpauth://totp/x").unwrap();
        assert!(lines.lines().count() > 10);
        assert_eq!(qr_svg(&"x".repeat(10_000)), Err(QrError));
    }
}
