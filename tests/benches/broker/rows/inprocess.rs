//! From the application to the application: no sockets.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use gnomon_broker::{
    AttachConfig, AttachmentEvent, ListenerConfig, PublishError, Qos, TopicFilter, TopicLimits,
};

use crate::serving;

/// Messages a second from one attachment to another.
pub(crate) fn run(messages: usize) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = serving::start(vec![ListenerConfig { addr, tls: None }]).await?;
        let filters = vec![TopicFilter::parse("bench/+/u/#", TopicLimits::MQTT)?];
        let mut taking = broker.attach(AttachConfig { filters, capacity: 4_096 });
        let giving = broker.attach(AttachConfig { filters: Vec::new(), capacity: 1 });
        let publisher = giving.publisher();
        let start = Instant::now();
        let publishing = tokio::spawn(async move {
            let payload = Bytes::from_static(&[b'x'; 100]);
            for _ in 0..messages {
                loop {
                    match publisher.publish("bench/7/u/batch", payload.clone(), Qos::AtLeastOnce) {
                        Ok(_) => break,
                        Err(PublishError::AttachmentFull) => tokio::task::yield_now().await,
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(())
        });
        let mut taken = 0;
        while taken < messages {
            match taking.next().await {
                Some(AttachmentEvent::Publish { .. }) => taken += 1,
                Some(_) => {}
                None => anyhow::bail!("the broker ended"),
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        publishing.await??;
        Ok(messages as f64 / seconds)
    })
}
