//! Noise, the same in every run.

/// So many bytes of every value.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let next = || {
        // The minimal standard generator: any will do.
        state = state.wrapping_mul(48_271) % 0x7fff_ffff;
        (state >> 8) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
