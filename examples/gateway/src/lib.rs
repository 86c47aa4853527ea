//! The parts of the gateway that are tested from outside of it, by the fuzz targets.

#[cfg(test)]
mod pieces;
pub mod proxy_protocol;
