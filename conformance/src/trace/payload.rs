//! Payloads, short enough for a line.

/// More bytes than this are shown as their number and a sum.
const SHOWN_MAX: usize = 48;

/// `"text"`, or `text[LENGTH:SUM]`.
pub(crate) fn text(text: &str) -> String {
    if text.len() > SHOWN_MAX {
        return format!("text[{}:{:08x}]", text.len(), sum(text.as_bytes()));
    }
    let mut shown = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => shown.push_str("\\\""),
            '\\' => shown.push_str("\\\\"),
            c if c.is_control() => {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    shown.push_str(&format!("\\x{byte:02x}"));
                }
            }
            c => shown.push(c),
        }
    }
    shown.push('"');
    shown
}

/// `binary(HEX)`, or `binary[LENGTH:SUM]`.
pub(crate) fn binary(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN_MAX {
        return format!("binary[{}:{:08x}]", bytes.len(), sum(bytes));
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("binary({digits})")
}

/// FNV-1a: enough to tell a changed payload from an unchanged one.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
