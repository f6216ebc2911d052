#![allow(warnings)]
use gnomon_broker::*;
use std::io::{Read, Write};
use std::sync::Arc;
fn rss() -> usize { std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 }
#[tokio::test(flavor = "multi_thread")]
async fn idle() {
    let acl = Acl::new(vec![Rule::new(Role::Anonymous, &["#"], &["#"]).unwrap()]);
    let broker = Broker::start(BrokerConfig { listeners: vec![ListenerConfig { addr: ([127,0,0,1],0).into(), tls: None }], limits: Limits::default(), acl, authenticator: Arc::new(CertificateAuthenticator) }).await.unwrap();
    let addr = broker.addrs()[0].addr;
    tokio::task::spawn_blocking(move || {
        let mut all = Vec::with_capacity(10000);
        let before = rss();
        for n in 0..5000 {
            let mut s = std::net::TcpStream::connect(addr).unwrap();
            let id = format!("client-{n:05}");
            let mut p = b"\x10\x18\x00\x04MQTT\x04\x02\x00\x3c\x00\x0c".to_vec(); p.extend(id.as_bytes()); 
            p[1] = (p.len()-2) as u8; p[13] = id.len() as u8;
            s.write_all(&p).unwrap();
            let mut a = [0;4]; s.read_exact(&mut a).unwrap(); assert_eq!(a, [0x20,2,0,0]);
            all.push(s);
        }
        let mid = rss();
        for (n, s) in all.iter_mut().enumerate() {
            let f = format!("gnomon/1/site-{n:05}/d/+");
            let mut p = vec![0x82, (f.len()+5) as u8, 0, 1, 0, f.len() as u8]; p.extend(f.as_bytes()); p.push(1);
            s.write_all(&p).unwrap();
            let mut a = [0;5]; s.read_exact(&mut a).unwrap();
        }
        let end = rss();
        println!("per idle {} B, per wildcard sub {} B", (mid-before)/5000, (end-mid)/5000);
    }).await.unwrap();
}
