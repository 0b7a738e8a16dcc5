//! Keeps disk space for writes that must always succeed: revoking a token, disabling a user, removing a member.
//!
//! A thread checks the file system four times a second, and the writer does after each quarter of a megabyte. Below a mark, the
//! writer rejects writes that let the database grow. If another program fills the disk nevertheless, a file that was allocated
//! in advance is removed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use metrics::{Gauge, gauge};
use rustix::fs::{FallocateFlags, OFlags, fallocate, statvfs};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::space::Space;

/// The interval of the thread's checks.
const LOOK: Duration = Duration::from_millis(250);
/// The growth of the write-ahead log, in pages, after which the writer checks the disk itself: 256 KiB.
const LOOK_PAGES: i32 = 64;
/// The default of the mark, in bytes. On a small file system it is [`MARK_SHARE`] of it.
const MARK: u64 = 64 * 1024 * 1024;
const MARK_SHARE: u64 = 8;
/// The size of the reserve, in bytes: enough for some hundred changes of rights. On a small file system it is [`RESERVE_SHARE`]
/// of it.
const RESERVE: u64 = 2 * 1024 * 1024;
const RESERVE_SHARE: u64 = 32;
/// The number of checks, about a minute, until a reserve that could not be allocated is tried again.
const RESERVE_PAUSE: u32 = 240;
/// The size of a page of the write-ahead log, in bytes.
const PAGE: u64 = 4096;

/// The disk under a database's file.
pub(super) struct Disk {
    path: PathBuf,
    reserve: PathBuf,
    /// The mark, if one was set. 0 switches all checks off.
    min_free: Option<u64>,
    /// The bytes of the write-ahead log that are not copied into the file.
    uncopied: AtomicU64,
    /// The intended size of the reserve.
    reserved: AtomicU64,
    /// The number of checks until the reserve is checked again; the largest number means never.
    reserve_pause: AtomicU32,
    /// The length of the write-ahead log at the writer's last check.
    looked_at: AtomicI32,
    space: Arc<Space>,
    free: Gauge,
}

impl Disk {
    pub(super) fn new(path: &Path, min_free: Option<u64>, space: Arc<Space>) -> Self {
        let mut reserve = path.as_os_str().to_owned();
        reserve.push("-reserve");
        let free = gauge!("chatsphere_disk_free_bytes");
        Self {
            path: path.to_owned(),
            reserve: reserve.into(),
            min_free,
            uncopied: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            reserve_pause: AtomicU32::new(0),
            looked_at: AtomicI32::new(0),
            space,
            free,
        }
    }

    /// Called after a commit: the write-ahead log has `pages` pages, of which `uncopied` are not in the file. After each
    /// [`LOOK_PAGES`] this checks the disk at once, because a small disk may be full before the thread's next check.
    pub(super) fn committed(&self, pages: i32, uncopied: i32) {
        self.uncopied.store(u64::try_from(uncopied).unwrap_or(0) * PAGE, Ordering::Relaxed);
        let looked_at = self.looked_at.load(Ordering::Relaxed);
        if self.min_free != Some(0) && (pages < looked_at || pages >= looked_at.saturating_add(LOOK_PAGES)) {
            self.looked_at.store(pages, Ordering::Relaxed);
            self.check();
        }
    }

    /// Whether little space was left at the last check.
    pub(super) fn is_low(&self) -> bool {
        self.space.is_low()
    }

    /// Removes the reserve. Returns whether there was one.
    pub(super) fn release(&self) -> bool {
        let released = fs::remove_file(&self.reserve).is_ok();
        if released {
            tracing::error!("the disk is full: what was kept free for changes of rights is used now; make space");
        }
        released
    }

    /// Whether this many pages take at most half of the reserve.
    pub(super) fn reserve_holds(&self, pages: i32) -> bool {
        u64::try_from(pages).unwrap_or(0) * PAGE <= self.reserved.load(Ordering::Relaxed) / 2
    }

    /// Checks the disk regularly, until the sender is dropped.
    pub(super) fn watch(&self, ended: &Receiver<()>) {
        if self.min_free == Some(0) {
            return;
        }
        loop {
            self.check();
            if !matches!(ended.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge")]
    fn check(&self) {
        let Ok(found) = statvfs(&self.path) else {
            // If the free space is unknown, writes are tried.
            self.space.set_low(false);
            return;
        };
        let (size, free) = (found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize);
        self.free.set(free as f64);
        let mark = self.min_free.unwrap_or_else(|| MARK.min(size / MARK_SHARE));
        let low = free < mark.saturating_add(self.uncopied.load(Ordering::Relaxed));
        if self.space.set_low(low) {
            match low {
                true => {
                    tracing::error!(free, mark, "little space is left for the database: nothing is taken that lets it grow")
                }
                false => tracing::info!(free, mark, "there is space for the database again"),
            }
        }
        let reserve = RESERVE.min(size / RESERVE_SHARE);
        self.reserved.store(reserve, Ordering::Relaxed);
        if !low && free > mark.saturating_add(reserve) {
            self.keep_reserve(reserve);
        }
    }

    /// Allocates the reserve, or completes one whose allocation was interrupted. Without a reserve, only the mark keeps space
    /// free.
    fn keep_reserve(&self, bytes: u64) {
        let pause = self.reserve_pause.load(Ordering::Relaxed);
        if pause > 0 {
            self.reserve_pause.store(pause.saturating_sub(u32::from(pause != u32::MAX)), Ordering::Relaxed);
            return;
        }
        if self.reserve.symlink_metadata().is_ok_and(|found| found.len() >= bytes) {
            return;
        }
        let Err(error) = self.allocate(bytes) else { return };
        let _ = fs::remove_file(&self.reserve);
        let is_impossible = [Errno::OPNOTSUPP, Errno::INVAL, Errno::NOSYS].contains(&error);
        self.reserve_pause.store(if is_impossible { u32::MAX } else { RESERVE_PAUSE }, Ordering::Relaxed);
        if is_impossible {
            tracing::warn!(%error, "the file system can't allocate space beforehand: on a full disk, changes of rights may be \
             refused too");
        }
    }

    fn allocate(&self, bytes: u64) -> Result<(), Errno> {
        let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(&self.reserve).map_err(failed)?;
        // If root runs this, the reserve gets the owner of the database, as SQLite's log does.
        if geteuid().is_root()
            && let Ok(owner) = fs::metadata(&self.path)
        {
            fchown(&file, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
        }
        fallocate(&file, FallocateFlags::empty(), 0, bytes)
    }
}
