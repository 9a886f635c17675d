//! The commands that query a modem over MBIM, one file or folder each.

use super::{
    contexts, info, ip_filters, operator, packet_service, phonebook, pin, radio, reset, services,
    sessions, signal, sim, sms, stats, ussd,
};
use crate::failure::Failure;

/// Command that sends the modem a query over MBIM, or changes one of its settings.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show everything about a modem on one page
    Info(info::Arguments),
    /// List what the modem offers over MBIM
    Services(services::Arguments),
    /// Show the SIM card
    Sim(sim::Arguments),
    /// The SIM's PIN and PUK
    Pin(pin::Arguments),
    /// Show or turn the radio switch
    Radio(radio::Arguments),
    /// The networks in reach, and registration
    Operator(operator::Arguments),
    /// Attach to the packet service
    Attach(packet_service::AttachArguments),
    /// Detach from the packet service
    Detach(packet_service::DetachArguments),
    /// Activate a data session
    Connect(Box<sessions::ConnectArguments>),
    /// End a data session
    Disconnect(sessions::DisconnectArguments),
    /// List the data sessions
    Sessions(sessions::SessionsArguments),
    /// Show how well the network is received
    Signal(signal::Arguments),
    /// List the access points the modem is provisioned with
    Contexts(contexts::Arguments),
    /// Show the modem's own packet counters
    Stats(stats::Arguments),
    /// Short messages: list, read, send, delete
    Sms(sms::Arguments),
    /// Send a USSD code such as *100#
    Ussd(ussd::Arguments),
    /// The SIM card's phonebook
    Phonebook(phonebook::Arguments),
    /// Show or set which packets may wake the host
    IpFilters(ip_filters::Arguments),
    /// Restart the modem
    Reset(reset::Arguments),
}

/// Runs a command.
///
/// # Errors
/// Fails as the command does, for instance when there is no modem or when it refuses.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Info(arguments) => info::run(arguments),
        Command::Services(arguments) => services::run(arguments),
        Command::Sim(arguments) => sim::run(arguments),
        Command::Pin(arguments) => pin::run(arguments),
        Command::Radio(arguments) => radio::run(arguments),
        Command::Operator(arguments) => operator::run(arguments),
        Command::Attach(arguments) => packet_service::attach(arguments),
        Command::Detach(arguments) => packet_service::detach(arguments),
        Command::Connect(arguments) => sessions::connect(arguments),
        Command::Disconnect(arguments) => sessions::disconnect(arguments),
        Command::Sessions(arguments) => sessions::sessions(arguments),
        Command::Signal(arguments) => signal::run(arguments),
        Command::Contexts(arguments) => contexts::run(arguments),
        Command::Stats(arguments) => stats::run(arguments),
        Command::Sms(arguments) => sms::run(arguments),
        Command::Ussd(arguments) => ussd::run(arguments),
        Command::Phonebook(arguments) => phonebook::run(arguments),
        Command::IpFilters(arguments) => ip_filters::run(arguments),
        Command::Reset(arguments) => reset::run(arguments),
    }
}
