//! A TCP proxy in front of the broker that can swallow what the broker answers while every connection stays open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The proxy. Stops when dropped.
pub struct Proxy {
    addr: SocketAddr,
    swallow: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let swallow = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&swallow);
        let task = tokio::spawn(async move {
            loop {
                let (down, _) = listener.accept().await.unwrap();
                let Ok(up) = TcpStream::connect(to).await else {
                    continue;
                };
                let (down_read, down_write) = down.into_split();
                let (up_read, up_write) = up.into_split();
                tokio::spawn(copy(down_read, up_write, None));
                tokio::spawn(copy(up_read, down_write, Some(Arc::clone(&flag))));
            }
        });
        Self { addr, swallow, task }
    }

    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// What the broker says from now on is lost.
    pub fn set_swallow(&self, swallow: bool) {
        self.swallow.store(swallow, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallow: Option<Arc<AtomicBool>>) {
    let mut chunk = [0; 4_096];
    while let Ok(len @ 1..) = from.read(&mut chunk).await {
        let lost = swallow
            .as_ref()
            .is_some_and(|swallow| swallow.load(Ordering::SeqCst));
        if !lost && to.write_all(&chunk[..len]).await.is_err() {
            return;
        }
    }
}
