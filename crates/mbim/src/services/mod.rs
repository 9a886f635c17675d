//! Services of MBIM, one file or folder each, with a typed struct for every information buffer and
//! a table of the commands.
//!
//! To add a command, state its layouts with `layout!` and add one line to the `service_table!`
//! table.

pub mod atds;
pub mod auth;
pub mod basic_connect;
pub mod compal;
pub mod dss;
pub(crate) mod empty;
pub mod fibocom;
pub mod google;
pub mod intel_at_tunnel;
pub mod intel_firmware_update;
pub mod intel_mutual_authentication;
pub mod intel_thermal_rf;
pub mod intel_tools;
pub mod ms_basic_connect_extensions;
pub mod ms_firmware_id;
pub mod ms_host_shutdown;
pub mod ms_sar;
pub mod ms_uicc_low_level_access;
pub mod ms_voice_extensions;
pub mod phonebook;
pub mod proxy_control;
pub mod qdu;
pub mod qmi;
pub mod quectel;
pub mod sms;
pub mod stk;
pub mod ussd;

use crate::service::Service;

pub use empty::Empty;

/// Table of every service.
pub(crate) static ALL: &[&Service] = &[
    &basic_connect::SERVICE,
    &atds::SERVICE,
    &auth::SERVICE,
    &compal::SERVICE,
    &dss::SERVICE,
    &fibocom::SERVICE,
    &google::SERVICE,
    &intel_at_tunnel::SERVICE,
    &intel_firmware_update::SERVICE,
    &intel_mutual_authentication::SERVICE,
    &intel_thermal_rf::SERVICE,
    &intel_tools::SERVICE,
    &ms_basic_connect_extensions::SERVICE,
    &ms_firmware_id::SERVICE,
    &ms_host_shutdown::SERVICE,
    &ms_sar::SERVICE,
    &ms_uicc_low_level_access::SERVICE,
    &ms_voice_extensions::SERVICE,
    &phonebook::SERVICE,
    &proxy_control::SERVICE,
    &qdu::SERVICE,
    &qmi::SERVICE,
    &quectel::SERVICE,
    &sms::SERVICE,
    &stk::SERVICE,
    &ussd::SERVICE,
];
