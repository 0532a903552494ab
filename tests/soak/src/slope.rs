//! Growth of a series of measurements: the slope by Theil and Sen, and its confidence.

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

/// Stretches of time that a series is cut into: the fewest that a slope can be told of, and therefore
/// the longest.
const STRETCHES: usize = 8;

/// The slope of the least of equal stretches of a series; `None` of fewer points than stretches.
///
/// One measurement of memory is much like the one before, for a heap grows in steps and keeps what it
/// has: of a thousand measurements with three steps nearly all pairs rise, and as if they were
/// independent the bounds would be certain of a leak. Of eight stretches they are not. The least of
/// each is what was not given back, whatever was taken for a moment.
#[must_use]
pub fn smoothed(points: &[(f64, f64)]) -> Option<Slope> {
    if points.len() < STRETCHES {
        return None;
    }
    let stretch = |number: usize| {
        let at = |number: usize| number * points.len() / STRETCHES;
        let part = &points[at(number)..at(number + 1)];
        let least = part.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
        (part[part.len() / 2].0, least)
    };
    slope(&(0..STRETCHES).map(stretch).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use intune_filter_tests::random::Random;

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

    /// Octets of a heap, measured every two seconds for twenty minutes; it moves by a page at random,
    /// once in a while by much more, and `held` is what it holds beyond that.
    fn heap(held: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let mut random = Random::new(5, "heap");
        let time = |number: u32| f64::from(number) * 2.0;
        let mut noise = || {
            let taken = if random.once_in(4) { 8 << 20 } else { 0 };
            f64::from(random.within(0..2) * 4096 + taken)
        };
        (0..600).map(|number| (time(number), noise() + held(time(number)))).collect()
    }

    #[test]
    fn a_heap_that_grows_in_few_steps_does_not_leak_and_one_that_grows_for_good_does() {
        const PAGE_A_MINUTE: f64 = 4096.0;

        type Judge = fn(&[(f64, f64)]) -> Option<Slope>;
        let is_leak = |held: &dyn Fn(f64) -> f64, judge: Judge| {
            judge(&heap(held)).unwrap().lower * 60.0 > PAGE_A_MINUTE
        };
        // 128 KiB more after so many seconds.
        let step = |time: f64, after: f64| if time < after { 0.0 } else { 131_072.0 };
        let one = |time: f64| step(time, 600.0);
        let two = |time: f64| step(time, 400.0) + step(time, 800.0);
        let three = |time: f64| step(time, 300.0) + one(time) + step(time, 900.0);
        assert!(is_leak(&two, slope) && is_leak(&three, slope), "one for one they look like leaks");
        assert!(!is_leak(&one, smoothed) && !is_leak(&two, smoothed) && !is_leak(&three, smoothed));
        // Two pages a minute, and as much as that in portions, as an arena grows.
        assert!(is_leak(&|time| time * 8192.0 / 60.0, smoothed));
        assert!(is_leak(&|time| (time / 120.0).floor() * 16_384.0, smoothed));
        assert_eq!(smoothed(&heap(one)[..STRETCHES - 1]), None);
    }
}
