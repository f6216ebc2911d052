//! A raw MQTT client with an identity of choice, to say to the broker what a site never would.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{Client, Connection, Event, Incoming, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::cloud::Cloud;

pub struct Mqtt {
    pub client: Client,
    connection: Connection,
}

impl Mqtt {
    /// Connects with the identity in a site's folder, or with none.
    pub fn connect(cloud: &Cloud, identity: Option<&Path>, id: &str) -> Self {
        let (_, port) = cloud.mqtt().rsplit_once(':').unwrap();
        let mut options = MqttOptions::new(id, "localhost", port.parse().unwrap());
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls(cloud, identity))));
        options.set_keep_alive(Duration::from_secs(10));
        let (client, connection) = Client::new(options, 16);
        Self { client, connection }
    }

    pub fn publish(&self, topic: &str, payload: &[u8]) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.to_vec()).unwrap();
    }

    /// The first packet from the broker that `wanted` takes; an error if the connection ends, or
    /// if nothing of the kind comes in time.
    pub fn next<T>(&mut self, wanted: impl Fn(&Incoming) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            match self.connection.recv_timeout(Duration::from_millis(500)) {
                Ok(Ok(Event::Incoming(packet))) => {
                    if let Some(found) = wanted(&packet) {
                        return Ok(found);
                    }
                }
                Ok(Ok(Event::Outgoing(_))) | Err(_) => {}
                Ok(Err(error)) => return Err(error.to_string()),
            }
        }
        Err("nothing came in time".to_owned())
    }
}

fn tls(cloud: &Cloud, identity: Option<&Path>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(cloud.data().join("ca.pem")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let Some(folder) = identity else { return Arc::new(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
}
