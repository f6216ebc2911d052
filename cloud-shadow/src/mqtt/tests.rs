//! What the link to the broker does by itself, while nobody takes the broker's events.

use gnomon_broker::{
    AuthError, Authenticator, BrokerConfig, CertificateSubject, Credentials, Limits, ListenerConfig,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::aws::ThingRoll;

const SERIAL: &[u8] = &[0x0a];

/// Takes the user name as the common name of a certificate with one serial number.
#[derive(Debug)]
struct Shown<A>(A, &'static str);

impl<A: Authenticator> Authenticator for Shown<A> {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        let certificate = CertificateSubject {
            common_name: credentials.username.unwrap_or_default().to_owned(),
            unit: self.1.to_owned(),
            serial: SERIAL.to_vec(),
            der: Vec::new(),
        };
        let certificate = Some(&certificate);
        self.0.authenticate(&Credentials { certificate, ..*credentials })
    }
}

async fn start(authenticator: Arc<dyn Authenticator>) -> Broker {
    let listeners = vec![ListenerConfig { addr: ([127, 0, 0, 1], 0).into(), tls: None }];
    let limits = Limits::default();
    Broker::start(BrokerConfig { listeners, limits, acl: acl(), authenticator }).await.unwrap()
}

/// Connects with MQTT 3.1.1 and waits to be let in.
async fn connect(broker: &Broker, name: &str) -> TcpStream {
    let mut stream = TcpStream::connect(broker.addrs()[0].addr).await.unwrap();
    let name_len = u8::try_from(name.len()).unwrap();
    let mut packet = vec![0x10, 15 + name_len];
    packet.extend(b"\0\x04MQTT\x04\x82\0\x3c\0\x01c\0");
    packet.push(name_len);
    packet.extend(name.as_bytes());
    stream.write_all(&packet).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    stream
}

async fn ends(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), end).await;
    assert_eq!(ended.expect("the session ends").unwrap(), 0);
}

fn admission(serials: &[&str]) -> Admission {
    Admission {
        serials: serials.iter().map(|&serial| serial.to_owned()).collect(),
        void_s: Some(0),
    }
}

#[tokio::test]
async fn a_node_whose_certificate_goes_is_out_although_the_core_has_not_seen_it_come() {
    let (roll, node) = (Roll::default(), "site-1".parse().unwrap());
    let broker = start(Arc::new(Shown(roll.clone(), "node"))).await;
    let (_things, thing_link) = aws::mqtt::attach(&broker, ThingRoll::default());
    let (_events, link) = attach(&broker, roll, thing_link);
    link.admit(&node, &admission(&["0a"]));
    let stream = connect(&broker, "site-1").await;
    link.admit(&node, &admission(&[]));
    ends(stream).await;
}

#[tokio::test]
async fn a_thing_whose_certificate_goes_is_out_although_nobody_has_seen_it_come() {
    let (roll, pump) = (ThingRoll::default(), "pump-7".parse().unwrap());
    let broker = start(Arc::new(Shown(roll.clone(), "device"))).await;
    let (_things, link) = aws::mqtt::attach(&broker, roll);
    link.admit(&pump, &["0a".to_owned()]);
    let stream = connect(&broker, "pump-7").await;
    link.admit(&pump, &[]);
    ends(stream).await;
}
