//! Inputs with several parts.

#![forbid(unsafe_code)]

/// Splits an input after its first line.
pub(crate) fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}

/// Splits an input at the lines that consist of two dashes.
pub fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BETWEEN: &[u8] = b"\n--\n";
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let whole = rest?;
        let mut windows = whole.windows(BETWEEN.len());
        let found = windows.position(|window| window == BETWEEN);
        rest = found.map(|end| &whole[end + BETWEEN.len()..]);
        Some(&whole[..found.unwrap_or(whole.len())])
    })
}
