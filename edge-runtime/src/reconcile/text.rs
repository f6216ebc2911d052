//! Words for reports, which travel over links that cost money: short, and the same until something
//! happens.

/// How often, in words that stop changing.
pub(super) fn times(count: u32) -> String {
    match count {
        0 | 1 => "once".to_owned(),
        2 => "twice".to_owned(),
        3..=10 => format!("{count} times"),
        _ => "more than 10 times".to_owned(),
    }
}

/// The text, or its beginning if it is long.
pub(super) fn clip(text: String, most: usize) -> String {
    if text.chars().nth(most).is_some() {
        text.chars().take(most).chain(['…']).collect()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stop_changing() {
        let words: Vec<_> = [1, 2, 3, 10, 11, 500].map(times).into();
        let long = "more than 10 times";
        assert_eq!(words, ["once", "twice", "3 times", "10 times", long, long]);
    }

    #[test]
    fn only_what_is_too_long_is_cut() {
        assert_eq!(clip("ééé".to_owned(), 3), "ééé");
        assert_eq!(clip("éééé".to_owned(), 3), "ééé…");
    }
}
