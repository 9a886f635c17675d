//! Setting the data function up: NTB parameters, format, sizes, alternate settings.
//!
//! The order is that of NCM 1.0 section 7 and MBIM 1.0 section 6.6: everything about NTBs is
//! settled in alternate setting 0, then the setting with the endpoints is selected. Devices that
//! refuse or ignore a request are taken as they are.
//!
//! An Ethernet function has more to settle: frames without checksum, their length, and which of them
//! the device passes on. The latter comes last: selecting the endpoints sets it back.

use uwwan_ncm::{Choices, Format as NcmFormat, Framing, Limits, NtbParameters};
use uwwan_usb::device::Device;
use uwwan_usb::error::Error;
use uwwan_usb::functions::DialledKind;
use uwwan_usb::requests;

use crate::addresses::Sizes;
use crate::datapath::ReceiveSizes;
use crate::heal::Layout;
use crate::kind::{ETHERNET_HEADER, Function, Kind};
use crate::options::{Format, Options, Order, Padding, Placement, Sequence, Table};
use crate::quirks::Quirk;
use crate::status::FramingStatus;

/// Agreement with the data function.
#[derive(Debug, Clone)]
pub(crate) struct Negotiated {
    pub(crate) framing: Framing,
    pub(crate) limits: Limits,
    /// Sizes of NTBs from the device.
    pub(crate) receive: ReceiveSizes,
    pub(crate) sizes: Sizes,
    /// Longest frame both ways, in bytes; only of a function that carries Ethernet.
    pub(crate) frame: Option<u16>,
    /// The points at which the device did not do as asked, in words.
    pub(crate) notices: Vec<String>,
    /// End of NTBs to the device that fill their last packet.
    pub(crate) padding: Padding,
    /// Parameters that the device announced.
    announced: Option<NtbParameters>,
}

/// Size in bytes of the largest NTB to the device: one URB in every backend, and no allocation of
/// the kernel above order 2 (16 KiB).
const USUAL_BLOCK: u32 = 16 * 1024;
/// Size in bytes of the largest NTB asked for from the device. Every NTB costs system calls and a
/// wake-up, and above this size little is left of them; Linux `cdc_ncm` goes up to it (`rx_max`).
const USUAL_INPUT: u32 = 64 * 1024;
/// Size in bytes down to which scarce memory lessens [`USUAL_INPUT`]: what Linux `cdc_ncm` asks for.
const SCARCE_INPUT: u32 = 16 * 1024;
/// Size in bytes above which the device's value is not used: no device was seen to send larger
/// NTBs, and the bound limits the memory that is allocated for them.
const MOST_BLOCK: u32 = 256 * 1024;
/// Bits of `bmNetworkCapabilities` (NCM 1.0, table 5-2), which say what the function can be asked.
const CAPABILITY_PACKET_FILTER: u8 = 0x01;
const CAPABILITY_MAX_DATAGRAM: u8 = 0x08;
const CAPABILITY_CRC_MODE: u8 = 0x10;
/// Bit for the 8-byte form of SET_NTB_INPUT_SIZE.
const CAPABILITY_8_BYTE_SIZE: u8 = 0x20;
/// Frames to the host's address and to groups (CDC ECM 1.2, table 8), as an Ethernet interface
/// takes them that is not promiscuous. The host chooses among the groups.
const PACKET_FILTER: u16 = 0x0e;
/// Length in bytes of the longest frame of an Ethernet without extensions, checksum left out.
const USUAL_FRAME: u16 = 1514;
/// Length of a VLAN tag in bytes (IEEE 802.1Q), by which a frame may be longer than the MTU gives.
pub(crate) const VLAN_TAG: u16 = 4;
/// Least value of the longest frame's length, in bytes. A device that declares less is wrong about
/// it: no IPv4 link carries less (RFC 791).
const LEAST_FRAME: u16 = 576 + ETHERNET_HEADER;
/// Least size in bytes of NTBs from the device that the device may be given (NCM 1.0, 6.2.7).
const LEAST_INPUT: u32 = 2048;
/// Most datagrams in an NTB from the device for which room is made.
const MOST_DATAGRAMS: usize = 4096;

/// Returns whether MBIM_OPEN precedes all requests to the data function.
pub(crate) fn opens_first(function: &Function, options: &Options) -> bool {
    options.experiment.order == Order::OpenFirst && !function.is_ethernet()
}

/// Selects the alternate setting of the data interface that has no endpoints. That resets the settings
/// of the data function and ends a control session.
///
/// # Errors
/// The error of the selection.
pub(crate) fn rest(device: &dyn Device, function: &Function, quirk: &Quirk) -> Result<(), Error> {
    if quirk.toggle {
        device.set_alternate_setting(function.data_interface, function.data_alternate)?;
    }
    device.set_alternate_setting(function.data_interface, 0)
}

/// Sets the data function up. Where MBIM_OPEN [goes first](opens_first), [`rest`] has been called before
/// that.
///
/// # Errors
/// The error of the selection of alternate settings, and [`Error::Gone`] from any request.
pub(crate) fn negotiate(
    device: &dyn Device,
    function: &Function,
    options: &Options,
    quirk: &Quirk,
) -> Result<Negotiated, Error> {
    if function.dialled() == Some(DialledKind::Ecm) {
        return negotiate_bare(device, function, options);
    }
    let mut notices = Vec::new();
    let mut announced = None;
    let control = function.control_interface;
    if !opens_first(function, options) {
        rest(device, function, quirk)?;
    }
    let order = options.experiment.order;
    let select = || device.set_alternate_setting(function.data_interface, function.data_alternate);
    if order == Order::AlternateFirst {
        select()?;
    }
    let mut answer = [0; NtbParameters::LENGTH];
    let read = requests::get_ntb_parameters(device, control, &mut answer);
    let parameters = match lenient(read)? {
        Ok(length) => {
            let parameters = NtbParameters::parse(&answer[..length]);
            announced = Some(parameters);
            parameters.sanitised()
        }
        Err(error) => {
            notices.push(format!("{error}; assuming NTBs of 8 KiB"));
            NtbParameters::FALLBACK
        }
    };
    let knows_ntb32 = parameters.supports(NcmFormat::Ntb32);
    let wanted = match options.ntb.or(quirk.ntb) {
        Some(Format::Ntb32) if !knows_ntb32 => {
            notices.push("the device offers NTB16 only".into());
            NcmFormat::Ntb16
        }
        Some(Format::Ntb16) if !parameters.supports(NcmFormat::Ntb16) => {
            notices.push("the device offers NTB32 only".into());
            NcmFormat::Ntb32
        }
        Some(Format::Ntb32) => NcmFormat::Ntb32,
        Some(Format::Ntb16) => NcmFormat::Ntb16,
        // Linux huawei_cdc_ncm.c: some of these devices know one format alone whatever they
        // announce.
        None if knows_ntb32 && function.dialled() == Some(DialledKind::HuaweiNcm) => {
            NcmFormat::Ntb32
        }
        None if parameters.supports(NcmFormat::Ntb16) => NcmFormat::Ntb16,
        None => NcmFormat::Ntb32,
    };
    let chosen = options.input_size.or(quirk.input_size);
    let mut agreed = None;
    if order == Order::SizeFirst {
        agreed = Some(input_size(
            device,
            function,
            chosen,
            &parameters,
            &mut notices,
        )?);
    }
    if knows_ntb32
        && let Err(error) = lenient(requests::set_ntb_format(device, control, wanted.wire()))?
    {
        notices.push(error.to_string());
    }
    let agreed = match agreed {
        Some(agreed) => agreed,
        None => input_size(device, function, chosen, &parameters, &mut notices)?,
    };
    let frame = match function.kind {
        Kind::Ethernet { .. } | Kind::Dialled { .. } => {
            Some(frames(device, function, options, &mut notices)?)
        }
        Kind::Mbim { .. } => None,
    };
    if !quirk.format_pause.is_zero() {
        std::thread::sleep(quirk.format_pause);
    }
    if order != Order::AlternateFirst {
        select()?;
    }
    let mut format = wanted;
    // Some firmware falls back to its own format when the alternate setting is selected (E3372H).
    if knows_ntb32
        && let Ok(actual) = lenient(requests::get_ntb_format(device, control))?
        && let Some(actual) = NcmFormat::from_wire(actual)
        && actual != format
    {
        notices.push(format!(
            "the device uses {actual:?} although {format:?} was asked for; so do we"
        ));
        format = actual;
    }

    if frame.is_some()
        && function.capabilities & CAPABILITY_PACKET_FILTER != 0
        && let Err(error) = lenient(requests::set_ethernet_packet_filter(
            device,
            control,
            PACKET_FILTER,
        ))?
    {
        notices.push(format!(
            "{error}; the device chooses which frames it passes on"
        ));
    }

    let framing = framing(announced.as_ref(), function, options, quirk, format);
    let most = parameters.in_max.clamp(agreed, MOST_BLOCK.max(agreed));
    let receive = ReceiveSizes {
        agreed: agreed as usize,
        least: match options.input_size {
            Some(_) => agreed as usize,
            None => agreed.min(SCARCE_INPUT) as usize,
        },
        most: most as usize,
    };
    let header = frame.map_or(0, |_| ETHERNET_HEADER);
    let ntb = framing
        .max_ntb
        .saturating_sub(overhead(&framing) + usize::from(header));
    let operator = match function.kind {
        Kind::Mbim { extended_mtu, .. } => extended_mtu,
        Kind::Ethernet { .. } | Kind::Dialled { .. } => None,
    };
    Ok(Negotiated {
        framing,
        limits: Limits {
            max_ntb: receive.most,
            max_datagrams: MOST_DATAGRAMS,
            max_datagram_size: frame.map_or(Limits::default().max_datagram_size, usize::from),
        },
        receive,
        sizes: Sizes {
            chosen: options.session(0).and_then(|session| session.mtu),
            operator,
            segment: Some(frame.map_or(function.max_segment_size, |frame| frame - header)),
            ntb: Some(ntb.min(usize::from(u16::MAX)) as u16),
            frame: frame.map(|frame| frame - header),
        },
        frame,
        notices,
        padding: options.padding.unwrap_or(quirk.padding),
        announced,
    })
}

/// Sets up a function of CDC ECM, which has no NTBs: each transfer is one frame.
fn negotiate_bare(
    device: &dyn Device,
    function: &Function,
    options: &Options,
) -> Result<Negotiated, Error> {
    let mut notices = Vec::new();
    let (control, data) = (function.control_interface, function.data_interface);
    if function.data_alternate != 0 {
        device.set_alternate_setting(data, 0)?;
    }
    device.set_alternate_setting(data, function.data_alternate)?;
    let frame = frames(device, function, options, &mut notices)?;
    let filter = requests::set_ethernet_packet_filter(device, control, PACKET_FILTER);
    if let Err(error) = lenient(filter)? {
        notices.push(format!(
            "{error}; the device chooses which frames it passes on"
        ));
    }
    // A frame of a whole number of packets ends with a zero-length packet, for which there is room.
    let size = usize::from(frame) + usize::from(function.bulk_in.max_packet_size);
    Ok(Negotiated {
        // With room for one byte more than the longest frame, a frame of the host that was cut off
        // can be recognised.
        framing: Framing::bare(
            usize::from(frame) + usize::from(function.gives_frames()),
            function.bulk_out.max_packet_size.into(),
        ),
        limits: Limits {
            max_datagram_size: frame.into(),
            ..Limits::default()
        },
        receive: ReceiveSizes {
            agreed: size,
            least: size,
            most: size,
        },
        sizes: Sizes {
            chosen: options.session(0).and_then(|session| session.mtu),
            segment: Some(frame - ETHERNET_HEADER),
            frame: Some(frame - ETHERNET_HEADER),
            ..Sizes::default()
        },
        frame: Some(frame),
        notices,
        padding: Padding::ZeroPacket,
        announced: None,
    })
}

/// Agrees with the device on frames without checksum and on their greatest length, which is
/// returned in bytes.
fn frames(
    device: &dyn Device,
    function: &Function,
    options: &Options,
    notices: &mut Vec<String>,
) -> Result<u16, Error> {
    let control = function.control_interface;
    if function.capabilities & CAPABILITY_CRC_MODE != 0
        && let Err(error) = lenient(requests::set_crc_mode(device, control, false))?
    {
        notices.push(error.to_string());
    }
    let declared = match function.max_segment_size {
        nonsense @ ..LEAST_FRAME => {
            notices.push(format!(
                "the device declares frames of {nonsense} bytes at most; taking {USUAL_FRAME}"
            ));
            USUAL_FRAME
        }
        declared => declared,
    };
    let wanted = options
        .session(0)
        .and_then(|session| session.mtu)
        .map_or(USUAL_FRAME, |mtu| mtu.saturating_add(ETHERNET_HEADER));
    let wanted = wanted.saturating_add(VLAN_TAG).min(declared);
    if function.capabilities & CAPABILITY_MAX_DATAGRAM == 0 {
        return Ok(declared);
    }
    let current = lenient(requests::get_max_datagram_size(device, control))?;
    if current.as_ref().is_ok_and(|current| *current == wanted) {
        return Ok(wanted);
    }
    match lenient(requests::set_max_datagram_size(device, control, wanted))? {
        Ok(()) => Ok(wanted),
        Err(error) => {
            let agreed = match current {
                Ok(current @ LEAST_FRAME..) => current.min(declared),
                _ => declared,
            };
            notices.push(format!("{error}; frames have {agreed} bytes at most"));
            Ok(agreed)
        }
    }
}

/// Tells the device to send NTBs of up to `wanted` bytes, or of the usual size. Returns the largest
/// size to expect, in bytes.
fn input_size(
    device: &dyn Device,
    function: &Function,
    wanted: Option<u32>,
    parameters: &NtbParameters,
    notices: &mut Vec<String>,
) -> Result<u32, Error> {
    let most = parameters.in_max.min(MOST_BLOCK);
    let wanted = wanted
        .unwrap_or(USUAL_INPUT)
        .clamp(most.min(LEAST_INPUT), most);
    // The size is sent even where it is the device's own: a modem of a Microsoft Surface Go refuses
    // MBIM_OPEN until it has one. No device may be given less than 2048 (NCM 1.0, 6.2.7).
    if wanted < LEAST_INPUT {
        return Ok(wanted);
    }
    match tell_input_size(device, function, wanted)? {
        Ok(()) => Ok(wanted),
        Err(_) if wanted == parameters.in_max => Ok(wanted),
        Err(error) => {
            notices.push(format!("{error}; expecting NTBs of up to {most} bytes"));
            Ok(most)
        }
    }
}

/// Tells the device the size in bytes of the largest NTB that it may send.
fn tell_input_size(
    device: &dyn Device,
    function: &Function,
    size: u32,
) -> Result<Result<(), Error>, Error> {
    let control = function.control_interface;
    let told = lenient(requests::set_ntb_input_size(device, control, size, None))?;
    if told.is_err() && function.capabilities & CAPABILITY_8_BYTE_SIZE != 0 {
        return lenient(requests::set_ntb_input_size(device, control, size, Some(0)));
    }
    Ok(told)
}

/// Separates errors that end the attempt, because the device is gone or forbidden, from errors that
/// a device may return.
fn lenient<T>(result: Result<T, Error>) -> Result<Result<T, Error>, Error> {
    match result {
        Err(error @ (Error::Gone { .. } | Error::NoPermission { .. })) => Err(error),
        other => Ok(other),
    }
}

/// Returns the layout of NTBs to the device that follows from what it announced and what is chosen.
fn framing(
    announced: Option<&NtbParameters>,
    function: &Function,
    options: &Options,
    quirk: &Quirk,
    format: NcmFormat,
) -> Framing {
    let announced = announced.copied().unwrap_or(NtbParameters::FALLBACK);
    let choices = choices(function, options, quirk, format);
    let experiment = &options.experiment;
    let mut parameters = NtbParameters {
        out_divisor: experiment
            .divisor
            .or(quirk.divisor)
            .unwrap_or(announced.out_divisor),
        out_remainder: experiment
            .remainder
            .or(quirk.remainder)
            .unwrap_or(announced.out_remainder),
        out_alignment: experiment.ndp_alignment.unwrap_or(announced.out_alignment),
        ..announced
    };
    if experiment.beyond {
        parameters.out_max = parameters.out_max.max(choices.block_size as u32);
        parameters.out_max_datagrams = 0;
    }
    Framing {
        // The device takes an NTB of the length that it announced for a whole one, whatever is sent.
        device_max_ntb: announced.out_max as usize,
        sequence: match experiment.sequence {
            Sequence::Rising => uwwan_ncm::Sequence::Rising,
            Sequence::Constant => uwwan_ncm::Sequence::Constant,
            Sequence::Random => uwwan_ncm::Sequence::Random,
            Sequence::Restart => uwwan_ncm::Sequence::Restart,
            Sequence::Skip => uwwan_ncm::Sequence::Skip,
        },
        empty_before: experiment.empty.into(),
        ..Framing::negotiate(&parameters, &choices)
    }
}

fn choices(function: &Function, options: &Options, quirk: &Quirk, format: NcmFormat) -> Choices {
    let packet = usize::from(function.bulk_out.max_packet_size);
    // Linux huawei_cdc_ncm.c puts the NDP at the end with every device of this class.
    let ndp = match function.dialled() {
        Some(DialledKind::HuaweiNcm) if quirk.vendor.is_none() => Placement::End,
        _ => quirk.ndp,
    };
    let block_size = options
        .block_size
        .or(quirk.block_size)
        .unwrap_or(USUAL_BLOCK) as usize;
    Choices {
        format,
        placement: place(options.ndp.unwrap_or(ndp)),
        ndp_size: match options.table {
            Some(Table::Full) => uwwan_ncm::NdpSize::Full,
            Some(Table::Minimal) | None => uwwan_ncm::NdpSize::Minimal,
        },
        padding: padding(options.padding.unwrap_or(quirk.padding), block_size, packet),
        block_size,
        max_packet_size: packet,
        max_datagrams: options
            .max_datagrams
            .or(quirk.max_datagrams)
            .map_or(Choices::default().max_datagrams, usize::from),
        function: match function.kind {
            Kind::Mbim { .. } => uwwan_ncm::Function::Mbim,
            Kind::Ethernet { .. } | Kind::Dialled { .. } => uwwan_ncm::Function::Ncm,
        },
        // With room for one byte more than the longest frame, a frame that was cut off can be
        // recognised.
        max_datagram_size: Choices::default()
            .max_datagram_size
            .max(usize::from(function.max_segment_size) + 1),
    }
}

fn place(place: Placement) -> uwwan_ncm::Placement {
    match place {
        Placement::End => uwwan_ncm::Placement::End,
        Placement::Front => uwwan_ncm::Placement::Front,
    }
}

/// Returns the padding of NTBs of at most `longest` bytes, in packets of `packet` bytes.
fn padding(padding: Padding, longest: usize, packet: usize) -> uwwan_ncm::Padding {
    match padding {
        Padding::Short => uwwan_ncm::Padding::ShortPacket,
        Padding::ZeroPacket => uwwan_ncm::Padding::Never,
        // Linux' default threshold: three packets below the maximum.
        Padding::Full => uwwan_ncm::Padding::Full {
            min_tx_pkt: longest.saturating_sub(3 * packet).max(512),
        },
    }
}

/// Returns the number of bytes of an NTB beside one datagram: NTH, NDP, alignment, the closing
/// byte.
fn overhead(framing: &Framing) -> usize {
    let front_table = match framing.placement {
        uwwan_ncm::Placement::Front => 16 + 8 * (framing.max_datagrams + 1),
        uwwan_ncm::Placement::End => 0,
    };
    64 + framing.divisor + framing.ndp_alignment + front_table
}

impl Negotiated {
    /// Agrees with the device on NTBs of half the size while the data path runs, as Linux `cdc_ncm`
    /// does when `rx_max` is set. Where the device refuses, or the size is the least already, the
    /// size stays and becomes the least.
    ///
    /// # Errors
    /// [`Error::Gone`] and [`Error::NoPermission`].
    pub(crate) fn receive_less(
        &mut self,
        device: &dyn Device,
        function: &Function,
    ) -> Result<(), Error> {
        let receive = &mut self.receive;
        let less = (receive.agreed / 2).max(receive.least);
        if less == receive.agreed {
            receive.least = receive.agreed;
            return Ok(());
        }
        match tell_input_size(device, function, less as u32)? {
            Ok(()) => receive.agreed = less,
            Err(error) => {
                tracing::debug!("{error}; NTBs of {} bytes stay", receive.agreed);
                receive.least = receive.agreed;
            }
        }
        Ok(())
    }

    /// Changes the layout of NTBs to another of the same format.
    pub(crate) fn lay_out(&mut self, layout: Layout) {
        let framing = &mut self.framing;
        self.padding = layout.padding;
        framing.placement = place(layout.ndp);
        framing.padding = padding(layout.padding, framing.max_ntb, framing.max_packet_size);
    }

    /// Changes the layout of NTBs to the one that the options choose: the place and the size of the NDP,
    /// the padding, the number of datagrams and the choices of an experiment. Returns `false` where that
    /// takes a new session, because the format or the longest NTB would be another.
    pub(crate) fn choose(&mut self, function: &Function, options: &Options, quirk: &Quirk) -> bool {
        if self.framing.bare {
            return false;
        }
        let format = match options.ntb {
            Some(Format::Ntb16) => NcmFormat::Ntb16,
            Some(Format::Ntb32) => NcmFormat::Ntb32,
            None => self.framing.format,
        };
        let framing = framing(self.announced.as_ref(), function, options, quirk, format);
        if framing.format != self.framing.format || framing.max_ntb != self.framing.max_ntb {
            return false;
        }
        self.framing = Framing {
            link: self.framing.link,
            ..framing
        };
        self.padding = options.padding.unwrap_or(quirk.padding);
        true
    }

    /// Returns the layout of NTBs to the device.
    pub(crate) fn layout(&self) -> Layout {
        Layout {
            ndp: match self.framing.placement {
                uwwan_ncm::Placement::End => Placement::End,
                uwwan_ncm::Placement::Front => Placement::Front,
            },
            padding: self.padding,
            ntb: match self.framing.format {
                NcmFormat::Ntb16 => Format::Ntb16,
                NcmFormat::Ntb32 => Format::Ntb32,
            },
        }
    }

    /// Returns whether the device knows both formats.
    pub(crate) fn knows_both_formats(&self) -> bool {
        self.announced.is_some_and(|announced| {
            announced.supports(NcmFormat::Ntb16) && announced.supports(NcmFormat::Ntb32)
        })
    }

    /// Returns whether an NTB has room for a datagram of `length` bytes behind an NDP in front.
    pub(crate) fn has_room_in_front(&self, length: usize) -> bool {
        let framing = Framing {
            placement: uwwan_ncm::Placement::Front,
            ..self.framing
        };
        length + overhead(&framing) <= framing.max_ntb
    }

    /// Returns the agreement in a few words.
    pub(crate) fn detail(&self) -> String {
        if self.framing.bare {
            return format!(
                "one frame of up to {} bytes in a transfer",
                self.framing.max_ntb
            );
        }
        let status = self.status();
        format!(
            "NTB{}, NDP at the {}, NTBs of {} bytes out and {} bytes in",
            status.format, status.ndp, status.output_size, status.input_size
        )
    }

    /// Returns the agreement as `status` prints it; transfers and buffers are known once the data
    /// path runs.
    pub(crate) fn status(&self) -> FramingStatus {
        FramingStatus {
            format: match self.framing.format {
                _ if self.framing.bare => "none".into(),
                NcmFormat::Ntb16 => "16".into(),
                NcmFormat::Ntb32 => "32".into(),
            },
            ndp: match self.framing.placement {
                _ if self.framing.bare => "none".into(),
                uwwan_ncm::Placement::End => "end".into(),
                uwwan_ncm::Placement::Front => "front".into(),
            },
            output_size: self.framing.max_ntb as u32,
            input_size: self.receive.agreed as u32,
            max_datagrams: self.framing.max_datagrams as u32,
            announced: self.announced,
            ..FramingStatus::default()
        }
    }
}
