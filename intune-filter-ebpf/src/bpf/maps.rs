//! Statics of the maps, made from the table in [`crate::maps`]. Sizes are defaults that userspace
//! overrides.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{
        Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, ProgramArray,
        Queue, RingBuf,
    },
};

use crate::{abi::*, scratch::*};

macro_rules! statics {
    ($(
        $name:ident: $kind:ident $scope:ident, $key:ty => $value:ident, $entries:expr
        $(, set by $setting:literal)?;
    )+) => {
        $(
            #[doc = concat!("Map of the row `", stringify!($name), "` in [`crate::maps`].")]
            #[unsafe(link_section = ".maps")]
            #[unsafe(no_mangle)]
            pub static $name: map_type!($kind $scope $key, $value, $entries) =
                <map_type!($kind $scope $key, $value, $entries)>::new();
        )+
    };
}

macro_rules! map_type {
    (Array Policy $key:ty, $value:ident, $entries:expr) => {
        ArrayOfMaps<Array<inner!($value), { $entries as usize }>, 2>
    };
    (Hash Policy $key:ty, $value:ident, $entries:expr) => {
        ArrayOfMaps<HashMap<$key, inner!($value), { $entries as usize }>, 2>
    };
    (LpmTrie Policy $key:ty, $value:ident, $entries:expr) => {
        ArrayOfMaps<LpmTrie<$key, inner!($value), { $entries as usize }>, 2>
    };
    (Array $scope:ident $key:ty, $value:ident, $entries:expr) => {
        Array<$value, { $entries as usize }>
    };
    (Hash $scope:ident $key:ty, $value:ident, $entries:expr) => {
        HashMap<$key, $value, { $entries as usize }>
    };
    (LruHash $scope:ident $key:ty, $value:ident, $entries:expr) => {
        LruHashMap<$key, $value, { $entries as usize }>
    };
    (PerCpuArray $scope:ident $key:ty, $value:ident, $entries:expr) => {
        PerCpuArray<$value, { $entries as usize }>
    };
    (PerCpuHash $scope:ident $key:ty, $value:ident, $entries:expr) => {
        PerCpuHashMap<$key, $value, { $entries as usize }, { BPF_F_NO_PREALLOC as usize }>
    };
    (ProgramArray $scope:ident $key:ty, $value:ident, $entries:expr) => {
        ProgramArray<{ $entries as usize }>
    };
    (Queue $scope:ident $key:ty, $value:ident, $entries:expr) => {
        Queue<$value, { $entries as usize }>
    };
    (RingBuf $scope:ident $key:ty, $value:ident, $entries:expr) => {
        RingBuf<$value, { $entries as usize }>
    };
}

/// Value type of an inner map: to BTF an array, never a struct. Linux 6.1 searches structs for
/// timers, and takes no other map in place of one that it has searched. The inner maps of a policy
/// have no BTF.
macro_rules! inner {
    (u32) => {
        u32
    };
    (u64) => {
        u64
    };
    ($value:ident) => {
        [u8; size_of::<$value>()]
    };
}

crate::maps::table!(statics);
