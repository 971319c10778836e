//! beta KL(pi || pi_ref), token by token, by the k3 estimator.

/// The estimate exp(d) - d - 1 and its derivative by log pi, 1 - exp(d), with d = log pi_ref - log pi.
pub fn k3(logprob: f64, reference: f64) -> (f64, f64) {
    let d = reference - logprob;
    (d.exp() - d - 1.0, 1.0 - d.exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_where_the_two_agree() {
        assert_eq!(k3(-2.0, -2.0), (0.0, 0.0));
        let (value, slope) = k3(-1.0, -2.0);
        assert!((value - (-1.0f64).exp()).abs() < 1e-15);
        assert!((slope - (1.0 - (-1.0f64).exp())).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn never_negative_and_the_slope_is_the_derivative(logprob in -8.0f64..0.0, reference in -8.0f64..0.0) {
            let h = 1e-6;
            let (value, slope) = k3(logprob, reference);
            prop_assert!(value >= 0.0);
            let numeric = (k3(logprob + h, reference).0 - k3(logprob - h, reference).0) / (2.0 * h);
            prop_assert!((slope - numeric).abs() < 1e-5 * (1.0 + slope.abs()));
        }
    }
}
