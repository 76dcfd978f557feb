//! Rounds, and what comes out of them.

/// What was measured, round after round.
#[derive(Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds the next round's.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Without the first, for what is measured beside [`rounds`]: in the first of them all warms up.
    pub fn warmed_up(mut self) -> Self {
        self.0.remove(0);
        self
    }

    /// The median.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted[sorted.len() / 2]
    }

    /// The least and the greatest.
    pub fn range(&self) -> (f64, f64) {
        let sorted = self.sorted();
        (sorted[0], sorted[sorted.len() - 1])
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(!sorted.is_empty(), "nothing was measured");
        sorted
    }
}

/// Measures every subject once a round, one after the other: the machine's speed drifts, and so it
/// drifts for all of them. What the first round comes to, which also warms up, does not count.
pub fn rounds<const N: usize>(
    count: usize,
    mut subjects: [&mut dyn FnMut() -> f64; N],
) -> [Series; N] {
    let mut all = std::array::from_fn(|_| Series::default());
    for round in 0..=count {
        for (series, subject) in all.iter_mut().zip(&mut subjects) {
            let value = subject();
            if round > 0 {
                series.push(value);
            }
        }
    }
    all
}
