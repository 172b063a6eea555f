//! Turn the bytes of numbers at rest into f64.

use half::{bf16, f16};
use stereotax_base::data::Precision;

/// How one number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE half.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE single.
    F32,
    /// IEEE double.
    F64,
    /// Signed integers; beyond ±2⁵³ the nearest f64 is taken.
    I8,
    /// 16-bit signed.
    I16,
    /// 32-bit signed.
    I32,
    /// 64-bit signed.
    I64,
    /// Unsigned integers.
    U8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 64-bit unsigned.
    U64,
    /// One byte; any non-zero is 1.
    Bool,
}

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endian {
    /// The least significant.
    Little,
    /// The most significant.
    Big,
}

impl Element {
    /// Bytes per number.
    pub fn bytes(self) -> usize {
        match self {
            Element::I8 | Element::U8 | Element::Bool => 1,
            Element::F16 | Element::Bf16 | Element::I16 | Element::U16 => 2,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F64 | Element::I64 | Element::U64 => 8,
        }
    }

    /// To which precision the numbers can be trusted; integers are exact, hence `F64`.
    pub fn precision(self) -> Precision {
        match self {
            Element::F16 => Precision::F16,
            Element::Bf16 => Precision::Bf16,
            Element::F32 => Precision::F32,
            _ => Precision::F64,
        }
    }

    /// NumPy's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Element::F16 => "float16",
            Element::Bf16 => "bfloat16",
            Element::F32 => "float32",
            Element::F64 => "float64",
            Element::I8 => "int8",
            Element::I16 => "int16",
            Element::I32 => "int32",
            Element::I64 => "int64",
            Element::U8 => "uint8",
            Element::U16 => "uint16",
            Element::U32 => "uint32",
            Element::U64 => "uint64",
            Element::Bool => "bool",
        }
    }

    /// Decode `out.len()` numbers; `bytes` must hold exactly as many.
    pub(crate) fn decode(self, endian: Endian, bytes: &[u8], out: &mut [f64]) {
        debug_assert_eq!(bytes.len(), out.len() * self.bytes());
        macro_rules! each {
            ($size:literal, $little:expr, $big:expr) => {{
                let numbers = bytes.as_chunks::<$size>().0.iter().zip(out);
                match endian {
                    Endian::Little => numbers.for_each(|(b, x)| *x = $little(*b)),
                    Endian::Big => numbers.for_each(|(b, x)| *x = $big(*b)),
                }
            }};
        }
        macro_rules! number {
            ($kind:ty, $size:literal) => {
                each!($size, |b| <$kind>::from_le_bytes(b) as f64, |b| <$kind>::from_be_bytes(b) as f64)
            };
        }
        match self {
            Element::F16 => {
                each!(2, |b| f16::from_le_bytes(b).to_f64(), |b| f16::from_be_bytes(b).to_f64())
            }
            Element::Bf16 => {
                each!(2, |b| bf16::from_le_bytes(b).to_f64(), |b| bf16::from_be_bytes(b).to_f64())
            }
            Element::F32 => number!(f32, 4),
            Element::F64 => number!(f64, 8),
            Element::I8 => number!(i8, 1),
            Element::I16 => number!(i16, 2),
            Element::I32 => number!(i32, 4),
            Element::I64 => number!(i64, 8),
            Element::U8 => number!(u8, 1),
            Element::U16 => number!(u16, 2),
            Element::U32 => number!(u32, 4),
            Element::U64 => number!(u64, 8),
            Element::Bool => bytes.iter().zip(out).for_each(|(b, x)| *x = f64::from(u8::from(*b != 0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(element: Element, endian: Endian, bytes: &[u8]) -> f64 {
        let mut out = [f64::NAN];
        element.decode(endian, bytes, &mut out);
        out[0]
    }

    #[test]
    fn decodes_by_hand() {
        // 1.5 in half is 0x3E00, in bfloat16 0x3FC0, in single 0x3FC00000.
        assert_eq!(one(Element::F16, Endian::Little, &[0x00, 0x3E]), 1.5);
        assert_eq!(one(Element::F16, Endian::Big, &[0x3E, 0x00]), 1.5);
        assert_eq!(one(Element::Bf16, Endian::Little, &[0xC0, 0x3F]), 1.5);
        assert_eq!(one(Element::F32, Endian::Big, &[0x3F, 0xC0, 0, 0]), 1.5);
        assert_eq!(one(Element::I16, Endian::Big, &[0xFF, 0xFE]), -2.0);
        assert_eq!(one(Element::I16, Endian::Little, &[0xFF, 0xFE]), -257.0);
        assert_eq!(one(Element::U64, Endian::Little, &[1, 0, 0, 0, 0, 0, 0, 0]), 1.0);
        assert_eq!(one(Element::Bool, Endian::Little, &[7]), 1.0);
    }
}
