//! Whether a series of measurements grows: the slope by Theil and Sen, and how certain it is.

/// The slope of a series, and the bounds within which it is with 99 % certainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The lower bound.
    pub lower: f64,
    /// The median of the slopes of all pairs.
    pub median: f64,
    /// The upper bound.
    pub upper: f64,
}

/// The slope of points in the order of time (Sen 1968); `None` of fewer than eight.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    const QUANTILE: f64 = 2.576;

    if points.len() < 8 {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (number, (x, y)) in points.iter().enumerate() {
        slopes
            .extend(points[..number].iter().map(|(earlier, before)| (y - before) / (x - earlier)));
    }
    slopes.sort_by(f64::total_cmp);
    let n = points.len() as f64;
    // The spread of Kendall's sum: how many pairs may rise by chance.
    let spread = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let (pairs, reach) = (slopes.len() as f64, QUANTILE * spread);
    let at = |rank: f64| slopes[(rank.max(0.0) as usize).min(slopes.len() - 1)];
    Some(Slope {
        lower: at((pairs - reach) / 2.0),
        median: at(pairs / 2.0),
        upper: at((pairs + reach) / 2.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::random::Random;

    fn series(grow: f64) -> Vec<(f64, f64)> {
        let mut random = Random::new(3, "slope");
        (0..100)
            .map(|x| (f64::from(x), grow * f64::from(x) + f64::from(random.within(0..100))))
            .collect()
    }

    #[test]
    fn what_grows_is_told_from_noise() {
        let flat = slope(&series(0.0)).unwrap();
        assert!(flat.lower < 0.0 && flat.upper > 0.0, "{flat:?}");
        let leak = slope(&series(1.0)).unwrap();
        assert!(leak.lower > 0.5 && leak.lower < 1.0 && leak.upper > 1.0, "{leak:?}");
        // A few steps up at the beginning are none.
        let mut steps = series(0.0);
        for point in &mut steps[5..] {
            point.1 += 500.0;
        }
        assert!(slope(&steps).unwrap().median.abs() < 0.5);
        assert_eq!(slope(&series(1.0)[..7]), None);
    }
}
