//! Plain data that the kernel hands over as octets.

use aya::Pod;

/// The value that octets begin with, and those after it; `None` if there are too few.
pub(crate) fn split_first<T: Pod>(octets: &[u8]) -> Option<(T, &[u8])> {
    let (head, rest) = octets.split_at_checked(size_of::<T>())?;
    // SAFETY: it has the type's size, and every bit pattern of a Pod is valid.
    Some((unsafe { head.as_ptr().cast::<T>().read_unaligned() }, rest))
}

/// The octets of a value without padding.
#[cfg(test)]
pub fn octets<T: Pod>(value: &T) -> Vec<u8> {
    // SAFETY: it has the type's size, and no octet that was never written.
    unsafe { std::slice::from_raw_parts((&raw const *value).cast(), size_of::<T>()) }.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_wherever_it_stands_and_not_if_it_is_cut_off() {
        let octets = [&[9], octets(&0x0102_0304_u32).as_slice(), &[5, 6]].concat();
        assert_eq!(split_first::<u32>(&octets[1..]), Some((0x0102_0304, [5, 6].as_slice())));
        assert_eq!(split_first::<u32>(&octets[4..]), None);
        assert_eq!(split_first::<u64>(&octets[1..]), None);
    }
}
