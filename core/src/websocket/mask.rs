//! Masking of what a client sends (RFC 6455 §5.3).

/// Sixteen bytes at a time: a register's width on the machines that matter, found by the compiler.
const LANE: usize = 16;

/// How much is copied before it is masked, so that the second pass finds it in the first-level cache.
/// A multiple of [`LANE`], so that every block starts at the same phase of the mask.
const BLOCK: usize = 8 * 1024;

/// What is short.
const SHORT: usize = 512;

/// Appends `payload` to `out`, masked with `mask`.
///
/// `offset` is the position of `payload`'s first byte in the payload of its frame, so that a frame can
/// be masked in pieces. The mask must be fresh and unpredictable for each frame (RFC 6455 §10.3).
#[inline]
pub fn mask_append(out: &mut Vec<u8>, payload: &[u8], mask: [u8; 4], offset: usize) {
    let mask = match offset % 4 {
        0 => mask,
        1 => u32::from_le_bytes(mask).rotate_right(8).to_le_bytes(),
        2 => u32::from_le_bytes(mask).rotate_right(16).to_le_bytes(),
        _ => u32::from_le_bytes(mask).rotate_right(24).to_le_bytes(),
    };
    let lane: [u8; LANE] = std::array::from_fn(|i| mask[i % 4]);
    out.reserve(payload.len());
    if payload.len() <= SHORT {
        return append_short(out, payload, &lane);
    }
    for block in payload.chunks(BLOCK) {
        let start = out.len();
        out.extend_from_slice(block);
        apply(&mut out[start..], &lane);
    }
}

/// Once over what is short: a call to copy it would cost as much as the masking. So there is none for the last bytes either.
#[inline]
fn append_short(out: &mut Vec<u8>, payload: &[u8], lane: &[u8; LANE]) {
    let (blocks, rest) = payload.as_chunks::<{ 4 * LANE }>();
    for block in blocks {
        let (lanes, _) = block.as_chunks::<LANE>();
        let masked: [[u8; LANE]; 4] = std::array::from_fn(|i| masked(&lanes[i], lane));
        out.extend_from_slice(masked.as_flattened());
    }
    let (lanes, rest) = rest.as_chunks::<LANE>();
    for chunk in lanes {
        out.extend_from_slice(&masked(chunk, lane));
    }
    if rest.is_empty() {
        return;
    }
    match payload.last_chunk::<LANE>() {
        // Some are written once more.
        Some(last) => {
            let again = LANE - rest.len();
            let shift = u32::try_from(rest.len() % 4).unwrap_or(0);
            let lane = u128::from_le_bytes(*lane).rotate_right(8 * shift);
            out.truncate(out.len() - again);
            out.extend_from_slice(&masked(last, &lane.to_le_bytes()));
        }
        None => out.extend(rest.iter().zip(lane).map(|(byte, key)| byte ^ key)),
    }
}

#[inline]
fn masked(chunk: &[u8; LANE], lane: &[u8; LANE]) -> [u8; LANE] {
    (u128::from_ne_bytes(*chunk) ^ u128::from_ne_bytes(*lane)).to_ne_bytes()
}

#[inline]
fn apply(bytes: &mut [u8], lane: &[u8; LANE]) {
    let (lanes, rest) = bytes.as_chunks_mut::<LANE>();
    for chunk in lanes {
        for (byte, key) in chunk.iter_mut().zip(lane) {
            *byte ^= key;
        }
    }
    for (byte, key) in rest.iter_mut().zip(lane) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(len: usize, offset: usize) {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let payload: Vec<u8> = (0..=u8::MAX).cycle().step_by(7).take(len).collect();
        let naive = payload
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ mask[(offset + i) % 4]);
        let expected: Vec<u8> = b"before".iter().copied().chain(naive).collect();
        let mut out = b"before".to_vec();
        mask_append(&mut out, &payload, mask, offset);
        assert_eq!(out, expected, "len {len}, offset {offset}");
    }

    #[test]
    fn masking_equals_the_byte_by_byte_rule_at_every_length_and_offset() {
        for len in 0..=70 {
            for offset in 0..=70 {
                check(len, offset);
            }
        }
        for len in [
            SHORT - 1,
            SHORT,
            SHORT + 1,
            BLOCK - 1,
            BLOCK,
            BLOCK + 1,
            3 * BLOCK + 5,
        ] {
            check(len, 3);
        }
    }

    #[test]
    fn a_payload_masked_in_pieces_is_the_payload_masked_at_once() {
        let payload: Vec<u8> = (0..100).collect();
        let mut whole = Vec::new();
        mask_append(&mut whole, &payload, [1, 2, 3, 4], 0);
        for split in 0..=payload.len() {
            let mut pieces = Vec::new();
            mask_append(&mut pieces, &payload[..split], [1, 2, 3, 4], 0);
            mask_append(&mut pieces, &payload[split..], [1, 2, 3, 4], split);
            assert_eq!(pieces, whole);
        }
    }
}
