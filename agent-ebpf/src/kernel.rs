//! Reads of kernel memory. The offset of each member comes from the running kernel's BTF.

use core::mem::MaybeUninit;
use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use vctl_common::layout::{Field, LAYOUT_LEN};

/// Offsets of all [`Field`]s, set by the agent before the object is loaded.
#[unsafe(no_mangle)]
static LAYOUT: [u32; LAYOUT_LEN] = [0; LAYOUT_LEN];

/// A kernel struct that is known only from BTF.
pub enum Kernel {}

/// Returns one element of the layout: an offset, or a size of this kernel.
#[inline(always)]
pub fn layout(index: usize) -> usize {
    // Volatile: otherwise the compiler uses the zeros that it sees.
    // SAFETY: every index is a constant below `LAYOUT_LEN`.
    unsafe { read_volatile(addr_of!(LAYOUT).cast::<u32>().add(index)) as usize }
}

/// Loads a member from a pointer whose type the verifier knows: one instruction, no helper. A
/// pointer that is no longer valid reads as zero.
///
/// # Safety
/// `base` comes from the tracepoint or from such a load, and points to the struct of `field`.
#[inline(always)]
pub unsafe fn load<T: Copy>(base: *const Kernel, field: Field) -> T {
    // SAFETY: the caller guarantees it.
    unsafe { load_at(base, layout(field as usize)) }
}

/// As [`load`], for a member given by its offset.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn load_at<T: Copy>(base: *const Kernel, offset: usize) -> T {
    // SAFETY: the verifier checks type and bounds of the load.
    unsafe { read_volatile(base.byte_add(offset).cast::<T>()) }
}

/// Reads a member through an address of unknown type; 0 when it cannot be read.
#[inline(always)]
pub fn peek(base: u64, offset: usize) -> u64 {
    let mut value = 0_u64;
    // SAFETY: the helper checks the address; the destination is ours.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            8,
            (base + offset as u64) as *const _,
        );
    }
    value
}

/// As [`peek`], for members of four bytes.
#[inline(always)]
pub fn peek32(base: u64, offset: usize) -> u32 {
    let mut value = 0_u32;
    // SAFETY: as above.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            4,
            (base + offset as u64) as *const _,
        );
    }
    value
}

/// Reads several neighbouring members at once; all bits are 0 when they cannot be read.
///
/// # Safety
/// Any bits are a value of `T`.
#[inline(always)]
pub unsafe fn read<T>(base: u64, offset: usize) -> T {
    // The helper always writes all of it. Zeros written before would be a call of memset.
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address; the destination is ours, and the caller guarantees
    // that the result is a valid value.
    unsafe {
        let from = (base + offset as u64) as *const _;
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        value.assume_init()
    }
}
