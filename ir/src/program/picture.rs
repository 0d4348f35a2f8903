//! How pixels become those that a network takes.

use super::PictureFit;

impl PictureFit {
    /// Width and height once the shorter side is as long as asked, the longer one rounded down as
    /// torchvision does.
    pub fn scaled(self, [width, height]: [usize; 2]) -> [usize; 2] {
        let Some(short) = self.resize.map(|pixels| pixels as usize) else { return [width, height] };
        let long = |long: usize, by: usize| {
            let product = short.saturating_mul(long);
            (product / by.max(1)).min(PictureFit::LARGEST as usize)
        };
        if width <= height { [short, long(height, width)] } else { [long(width, height), short] }
    }

    /// Where the middle `cut` of `length` pixels, which are no fewer, begin: half of what is left,
    /// an odd half rounded to even, as torchvision does.
    pub fn middle(length: usize, cut: usize) -> usize {
        let left = length - cut;
        let half = left / 2;
        half + usize::from(left % 2 == 1 && half % 2 == 1)
    }
}

/// Gray of a colour, by the weights of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B, rounded. The
/// weights are 16-bit fixed point and sum to 2^16.
pub fn luma([r, g, b]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + (1 << 15);
    (sum >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_exact_at_the_ends_and_weighs_green_most() {
        assert_eq!([luma([0; 3]), luma([255; 3])], [0, 255]);
        assert_eq!([luma([255, 0, 0]), luma([0, 255, 0]), luma([0, 0, 255])], [76, 150, 29]);
    }

    #[test]
    fn sizes_are_those_of_torchvision() {
        let fit = |resize| PictureFit { resize: Some(resize), crop: None };
        // int(256 * 500 / 375), int(256 * 640 / 427)
        assert_eq!(fit(256).scaled([500, 375]), [341, 256]);
        assert_eq!(fit(256).scaled([427, 640]), [256, 383]);
        assert_eq!(PictureFit::default().scaled([10, 20]), [10, 20]);
        // round((341 - 224) / 2) = round(58.5) = 58, round(59.5) = 60
        assert_eq!(
            [(341, 224), (343, 224), (256, 224)].map(|(length, cut)| PictureFit::middle(length, cut)),
            [58, 60, 16]
        );
    }
}
