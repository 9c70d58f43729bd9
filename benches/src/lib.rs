//! Measurements of Ropewalk beside other WebSocket clients, and beside what no client can do without.
#![forbid(unsafe_code)]

pub mod compare;
pub mod contestants;
pub mod measure;
pub mod paste;
pub mod peer;
pub mod scale;
pub mod subjects;
pub mod work;
