// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text in, text out, without I/O; what a format does not understand it returns byte for byte.

pub mod absolute_path;
pub mod addresses;
pub mod anchor;
pub mod assignments;
pub mod boot_entry;
pub mod boot_refs;
pub mod device_tags;
pub mod encoding;
pub mod field;
pub mod fstab;
pub mod grub;
pub mod hosts;
pub mod ip_parameter;
pub mod keyring;
pub mod keys;
pub mod known_ids;
pub mod name_template;
pub mod network;
pub mod passwd;
pub mod scheduled_keys;
pub mod smbios;
pub mod sshd_config;
pub mod unit_name;
pub mod words;
