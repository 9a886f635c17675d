//! Programs of the user that run before and after the modem is up and down (`[hooks]` in the
//! configuration file).
//!
//! Each is a fixed list of arguments without a shell. It gets a clean environment with facts from the
//! kernel and the command line, and addresses that were checked. It runs as the user who has started
//! `up` (of two processes the monitor starts it), for a limited time, and only if no other user may
//! change it, or a directory on its path (see [`own_file`](crate::own_file)).

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::mem;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::Access;
use serde::Deserialize;
use uwwan_modem::host::{HostConfig, HostControl, HostEnd, HostNews, HostProvider};
use uwwan_modem::status::{self, Addresses};
use uwwan_tun::program;

use crate::failure::{Failure, FailureKind};
use crate::own_file;

/// Time limit of a hook unless the file gives another.
const USUAL_LIMIT: Duration = Duration::from_secs(10);
/// Longest time limit that a hook may have, in seconds.
const LONGEST_LIMIT: u64 = 60;
/// Largest number of arguments of a hook, its program included.
const MOST_ARGUMENTS: usize = 64;
/// What became of the hook for which no thread waits. There is one such hook at a time.
enum Started {
    /// The thread that attends to the last such hook, if there was one, and the end of a pipe by which
    /// the hook is ended: it is closed for that.
    Last(Option<(JoinHandle<()>, PipeWriter)>),
    /// `up` is ending, so that no such hook is started.
    Over,
}

static STARTED: Mutex<Started> = Mutex::new(Started::Last(None));

/// Ends the hook for which no thread waits, with the processes of its process group. No such hook is
/// started afterwards.
fn end_started() {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Started::Last(Some((thread, running))) = mem::replace(&mut *started, Started::Over) {
        drop(running);
        // The thread has nothing to tell but to the pipe.
        let _ = thread.join();
    }
}

/// Moment at which a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before the modem is looked for. When this hook fails, `up` ends.
    BeforeUp,
    /// Whenever session 0 has come online.
    AfterUp,
    /// Before the interface of session 0 is taken down.
    BeforeDown,
    /// After everything is down.
    AfterDown,
}

impl Hook {
    /// Returns the name of the hook, which is its key in the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeUp => "before-up",
            Self::AfterUp => "after-up",
            Self::BeforeDown => "before-down",
            Self::AfterDown => "after-down",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The table `[hooks]` of a configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Hooks {
    before_up: Vec<String>,
    after_up: Vec<String>,
    before_down: Vec<String>,
    after_down: Vec<String>,
    /// Time limit of each hook, in seconds.
    timeout: Option<u64>,
    /// The file from which the hooks were read.
    #[serde(skip)]
    file: PathBuf,
}

/// The facts that a hook gets in its environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Port of the device, or the selector that was given in its place (`UWWAN_DEVICE`).
    pub device: String,
    /// Name of the interface of session 0 (`UWWAN_INTERFACE`).
    pub interface: Option<String>,
    /// Addresses of session 0 (`UWWAN_IPV4`, `UWWAN_IPV6`, `UWWAN_GATEWAY4`, `UWWAN_GATEWAY6`,
    /// `UWWAN_DNS`, `UWWAN_MTU`).
    pub addresses: Option<Addresses>,
}

impl Facts {
    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("UWWAN_DEVICE", self.device.clone())];
        all.extend(self.interface.clone().map(|name| ("UWWAN_INTERFACE", name)));
        let Some(given) = &self.addresses else {
            return all;
        };
        let v4 = given
            .ipv4
            .map(|one| format!("{}/{}", one.address, one.prefix));
        let v6 = given
            .ipv6
            .map(|one| format!("{}/{}", one.address, one.prefix));
        let four = given.dns4.iter().map(ToString::to_string);
        let servers: Vec<String> = four
            .chain(given.dns6.iter().map(ToString::to_string))
            .collect();
        let servers = Some(servers.join(" ")).filter(|servers| !servers.is_empty());
        let mtu = Some(given.mtu).filter(|mtu| *mtu > 0);
        for (name, value) in [
            ("UWWAN_IPV4", v4),
            ("UWWAN_IPV6", v6),
            ("UWWAN_GATEWAY4", given.gateway4.map(|one| one.to_string())),
            ("UWWAN_GATEWAY6", given.gateway6.map(|one| one.to_string())),
            ("UWWAN_DNS", servers),
            ("UWWAN_MTU", mtu.map(|mtu| mtu.to_string())),
        ] {
            all.extend(value.map(|value| (name, value)));
        }
        all
    }
}

impl Hooks {
    /// Records the file from which the hooks were read. Programs with a relative path stand beside
    /// it.
    pub fn in_file(&mut self, file: &Path) {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let folder = file.parent().unwrap_or(Path::new("/"));
        for words in [
            &mut self.before_up,
            &mut self.after_up,
            &mut self.before_down,
            &mut self.after_down,
        ] {
            if let Some(program) = words.first_mut() {
                *program = folder.join(&*program).to_string_lossy().into_owned();
            }
        }
        self.file = file;
    }

    fn words(&self, hook: Hook) -> &[String] {
        match hook {
            Hook::BeforeUp => &self.before_up,
            Hook::AfterUp => &self.after_up,
            Hook::BeforeDown => &self.before_down,
            Hook::AfterDown => &self.after_down,
        }
    }

    fn limit(&self) -> Duration {
        self.timeout.map_or(USUAL_LIMIT, Duration::from_secs)
    }

    /// Checks that the hooks can run, and that no user but this one and root can change the
    /// configuration file and the programs.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], which names the hook.
    pub fn check(&self) -> Result<(), Failure> {
        let wrong = |hook: &str, why: String| {
            Failure::new(FailureKind::Usage, "a hook cannot be used")
                .at(format!("{hook} in {}", self.file.display()))
                .because(why)
        };
        let all = [
            Hook::BeforeUp,
            Hook::AfterUp,
            Hook::BeforeDown,
            Hook::AfterDown,
        ];
        let mut some = all.into_iter().filter(|hook| !self.words(*hook).is_empty());
        if let Some(seconds) = self.timeout
            && !(1..=LONGEST_LIMIT).contains(&seconds)
        {
            let why = format!("it is {seconds}; 1 to {LONGEST_LIMIT} seconds are accepted");
            return Err(wrong("timeout", why));
        }
        let Some(first) = some.next() else {
            return Ok(());
        };
        own_file::check(&self.file).map_err(|why| {
            wrong(first.name(), format!("the configuration file {why}")).next(format!(
                "sudo chown root: {0} && sudo chmod go-w {0}; or chmod go-w on the directory that is named",
                self.file.display()
            ))
        })?;
        for hook in [first].into_iter().chain(some) {
            let words = self.words(hook);
            if words.len() > MOST_ARGUMENTS {
                let why = format!("it has more than {MOST_ARGUMENTS} arguments");
                return Err(wrong(hook.name(), why));
            }
            if words.iter().any(|word| word.contains('\0')) {
                return Err(wrong(hook.name(), "an argument holds a NUL".into()));
            }
            let program = Path::new(&words[0]);
            own_file::check(program)
                .and_then(|()| {
                    rustix::fs::access(program, Access::EXEC_OK)
                        .map_err(|error| format!("cannot be run: {error}"))
                })
                .map_err(|why| {
                    wrong(hook.name(), format!("{} {why}", program.display())).next(format!(
                        "its first word is a program that is yours or root's, as is every directory on its way, and that \
                         nobody else may change: chmod go-w {} or the directory",
                        program.display()
                    ))
                })?;
        }
        Ok(())
    }

    /// Runs a hook, if there is one, and waits for its end.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when another user can change it, when it cannot be started, takes too
    /// long or fails.
    pub fn run(&self, hook: Hook, facts: &Facts) -> Result<(), Failure> {
        self.run_to_its_end(hook, facts, None)
    }

    /// Runs a hook, which is ended when `ending` is hung up.
    fn run_to_its_end(
        &self,
        hook: Hook,
        facts: &Facts,
        ending: Option<&PipeReader>,
    ) -> Result<(), Failure> {
        let words = self.words(hook);
        let Some((program, arguments)) = words.split_first() else {
            return Ok(());
        };
        let failed = |why: String| {
            Failure::new(FailureKind::Host, format!("the hook {hook} failed"))
                .at(program.clone())
                .because(why)
        };
        // The program may have got another owner since the start.
        own_file::check(Path::new(program)).map_err(failed)?;
        let mut child = program::command(Path::new(program))
            .args(arguments)
            .env("UWWAN_HOOK", hook.name())
            .env("UWWAN_CONFIG", &self.file)
            .envs(facts.variables())
            .current_dir("/")
            .stdin(Stdio::null())
            // The hook's output stands among the lines of the log.
            .stdout(io::stderr())
            .spawn()
            .map_err(|error| failed(format!("it cannot be started: {error}")))?;
        let begun = Instant::now();
        // Processes that the hook has started end with it when it is ended.
        let status = program::wait(&mut child, self.limit(), ending.map(AsFd::as_fd))
            .map_err(|error| failed(format!("it cannot be waited for: {error}")))?;
        let seconds = self.limit().as_secs();
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(failed(format!("it ended with {status}"))),
            None if begun.elapsed() < self.limit() => {
                Err(failed("it ran when up ended, and was ended".into()))
            }
            None => Err(
                failed(format!("it took longer than {seconds} s and was ended"))
                    .next("start in the background what takes longer, or raise timeout in [hooks]"),
            ),
        }
    }

    /// Starts a hook without waiting for it; it ends with `up` at the latest. The failure can be read from the pipe as
    /// JSON; a hook that succeeds leaves the pipe empty.
    ///
    /// # Errors
    /// Those of a pipe or a thread, and one when another hook that was started so still runs, or `up` is
    /// ending.
    pub fn start(self: &Arc<Self>, hook: Hook, facts: Facts) -> io::Result<PipeReader> {
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*started {
            Started::Over => return Err(io::Error::other("it would begin at the end")),
            Started::Last(Some((thread, _))) if !thread.is_finished() => {
                return Err(io::Error::other("the last one has not ended"));
            }
            Started::Last(_) => {}
        }
        let (reader, mut writer) = io::pipe()?;
        let (ending, running) = io::pipe()?;
        let hooks = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("hook".into())
            .spawn(move || {
                if let Err(failure) = hooks.run_to_its_end(hook, &facts, Some(&ending))
                    && let Ok(text) = serde_json::to_vec(&failure)
                {
                    // The reader may have closed the pipe.
                    let _ = writer.write_all(&text);
                }
            })?;
        *started = Started::Last(Some((thread, running)));
        Ok(reader)
    }

    /// Returns whether there is a hook for this moment.
    pub fn has(&self, hook: Hook) -> bool {
        !self.words(hook).is_empty()
    }

    /// Returns whether there is no hook.
    pub fn is_empty(&self) -> bool {
        let without = Self {
            timeout: None,
            file: PathBuf::new(),
            ..self.clone()
        };
        without == Self::default()
    }
}

/// Runs the hook `before-down` when it is dropped.
pub struct BeforeDown {
    hooks: Arc<Hooks>,
    /// The facts that the hook gets.
    pub facts: Facts,
}

impl BeforeDown {
    /// Returns the guard of an interface that is up.
    pub fn new(hooks: &Arc<Hooks>, facts: Facts) -> Self {
        Self {
            hooks: Arc::clone(hooks),
            facts,
        }
    }
}

impl Drop for BeforeDown {
    fn drop(&mut self) {
        if let Err(failure) = self.hooks.run(Hook::BeforeDown, &self.facts) {
            tracing::warn!("{failure}");
        }
    }
}

/// Runs the hook `after-down` when it is dropped.
pub struct AfterDown {
    /// The hooks.
    pub hooks: Arc<Hooks>,
    /// The facts that the hook gets.
    pub facts: Facts,
}

impl Drop for AfterDown {
    fn drop(&mut self) {
        end_started();
        if let Err(failure) = self.hooks.run(Hook::AfterDown, &self.facts) {
            tracing::warn!("{failure}");
        }
    }
}

/// Provider whose interface of session 0 is taken down after the hook `before-down` has run.
pub struct Provider {
    /// The provider of the interfaces.
    pub inner: Box<dyn HostProvider>,
    /// The hooks.
    pub hooks: Arc<Hooks>,
    /// The configuration of the host interface of session 0.
    pub first: HostConfig,
    /// The name of the device in facts.
    pub device: String,
}

impl HostProvider for Provider {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let end = self.inner.bring_up(config)?;
        if !same_session(&self.first, config) {
            return Ok(end);
        }
        let facts = Facts {
            device: self.device.clone(),
            interface: Some(end.control.interface().name),
            addresses: Some(config.addresses.clone()),
        };
        Ok(HostEnd {
            control: Box::new(Hooked {
                before_down: BeforeDown::new(&self.hooks, facts),
                inner: end.control,
            }),
            data: end.data,
        })
    }
}

/// Returns whether a configuration is that of the session that `asked` is for.
fn same_session(asked: &HostConfig, config: &HostConfig) -> bool {
    let config = HostConfig {
        addresses: asked.addresses.clone(),
        ethernet: asked.ethernet.clone(),
        ..config.clone()
    };
    config == *asked
}

/// The half of a host interface that configures the host, with the hook that runs before it is dropped.
struct Hooked {
    /// The guard comes first, because fields are dropped in their order.
    before_down: BeforeDown,
    inner: Box<dyn HostControl>,
}

impl HostControl for Hooked {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        self.before_down.facts.addresses = Some(config.addresses.clone());
        self.inner.reconfigure(config)
    }

    fn set_carrier(&mut self, up: bool) {
        self.inner.set_carrier(up);
    }

    fn watch(&mut self, changed: Box<dyn Fn() + Send>) {
        self.inner.watch(changed);
    }

    fn attend(&mut self) -> Vec<HostNews> {
        self.inner.attend()
    }

    fn interface(&self) -> status::Interface {
        self.inner.interface()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    /// Makes a folder with a configuration file and a program, and returns its hooks.
    fn hooks(table: &str, program: &str) -> (tempfile::TempDir, Hooks) {
        let folder = tempfile::tempdir().unwrap();
        let hook = folder.path().join("hook");
        fs::write(&hook, program).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
        let file = folder.path().join("modem.toml");
        fs::write(&file, table).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut hooks: Hooks = toml::from_str(table).unwrap();
        hooks.in_file(&file);
        (folder, hooks)
    }

    fn facts() -> Facts {
        Facts {
            device: "1-4".into(),
            interface: Some("uwwan0".into()),
            addresses: Some(Addresses {
                ipv4: Some(status::Prefix4 {
                    address: [192, 0, 2, 7].into(),
                    prefix: 32,
                }),
                dns4: vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
                mtu: 1430,
                ..Addresses::default()
            }),
        }
    }

    #[test]
    fn a_hook_gets_its_arguments_and_the_facts_and_nothing_else() {
        let (folder, hooks) = hooks(
            "after-up = ['hook', 'a b', '$HOME']",
            "#!/bin/sh\n{ printf '%s\\n' \"$@\"; pwd; env | sort; } >\"${0%/*}/said\"\n",
        );
        hooks.check().unwrap();
        hooks.run(Hook::AfterUp, &facts()).unwrap();
        hooks.run(Hook::BeforeDown, &facts()).unwrap();
        let said = fs::read_to_string(folder.path().join("said")).unwrap();
        // Variables that the shell itself adds are left out.
        let said: Vec<&str> = said
            .lines()
            .filter(|line| {
                !["PWD=", "SHLVL=", "_="]
                    .iter()
                    .any(|own| line.starts_with(own))
            })
            .collect();
        let file = format!("UWWAN_CONFIG={}/modem.toml", folder.path().display());
        let expected = [
            "a b",
            "$HOME",
            "/",
            &format!("PATH={}", program::PATH),
            &file,
            "UWWAN_DEVICE=1-4",
            "UWWAN_DNS=192.0.2.1 192.0.2.2",
            "UWWAN_HOOK=after-up",
            "UWWAN_INTERFACE=uwwan0",
            "UWWAN_IPV4=192.0.2.7/32",
            "UWWAN_MTU=1430",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_goes_wrong_is_told() {
        let (_folder, broken) = hooks("before-up = ['hook']", "#!/bin/sh\nexit 3\n");
        let told = broken
            .run(Hook::BeforeUp, &facts())
            .unwrap_err()
            .to_string();
        assert!(told.contains("before-up") && told.contains('3'), "{told}");
        let reader = Arc::new(broken).start(Hook::BeforeUp, facts()).unwrap();
        let mut text = String::new();
        { reader }.read_to_string(&mut text).unwrap();
        let failure: Failure = serde_json::from_str(&text).unwrap();
        assert!(failure.to_string().contains("before-up"), "{failure}");

        let (_folder, endless) = hooks(
            "after-up = ['hook']\ntimeout = 60",
            "#!/bin/sh\nsleep 600 &\nsleep 600\n",
        );
        let endless = Arc::new(endless);
        let reader = endless.start(Hook::AfterUp, facts()).unwrap();
        let another = endless.start(Hook::AfterUp, facts()).unwrap_err();
        assert!(another.to_string().contains("not ended"), "{another}");
        end_started();
        let mut text = String::new();
        { reader }.read_to_string(&mut text).unwrap();
        assert!(text.contains("when up ended"), "{text}");
        assert!(endless.start(Hook::AfterUp, facts()).is_err());

        // The hook ends with all processes that it has started, although those hold its output.
        let (_folder, slow) = hooks(
            "before-down = ['hook']\ntimeout = 1",
            "#!/bin/sh\nsleep 600 &\nsleep 600\n",
        );
        let told = slow
            .run(Hook::BeforeDown, &facts())
            .unwrap_err()
            .to_string();
        assert!(told.contains("longer than 1 s"), "{told}");
    }

    #[test]
    fn what_others_may_change_does_not_run() {
        let (folder, hooks) = hooks("after-down = ['hook']", "#!/bin/sh\ntouch /ran\n");
        for name in ["hook", "modem.toml"] {
            let path = folder.path().join(name);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o020)).unwrap();
            let told = hooks.check().unwrap_err().to_string();
            assert!(
                told.contains("after-down") && told.contains("others"),
                "{told}"
            );
            if name == "hook" {
                assert!(hooks.run(Hook::AfterDown, &facts()).is_err());
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            hooks.check().unwrap();
        }
        fs::remove_file(folder.path().join("hook")).unwrap();
        assert!(hooks.check().is_err());
    }

    #[test]
    fn senseless_tables_are_refused() {
        for table in ["after-up = 'hook'", "after = ['hook']", "timeout = -1"] {
            assert!(toml::from_str::<Hooks>(table).is_err(), "{table}");
        }
        for table in ["timeout = 0", "timeout = 61", "after-up = ['missing']"] {
            let (_folder, hooks) = hooks(table, "");
            assert!(hooks.check().is_err(), "{table}");
        }
        assert!(Hooks::default().is_empty() && Hooks::default().check().is_ok());
    }
}
