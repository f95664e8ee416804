//! A name server of a test's own: names mean what the test says, and may mean something else the next moment.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use crate::opsiq::World;

/// One thing a name means.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Address(IpAddr),
    Alias(&'static str),
    /// No answer at all.
    Nothing,
}

impl From<&'static str> for Says {
    fn from(text: &'static str) -> Self {
        match text {
            "" => Self::Nothing,
            text => text.parse().map_or(Self::Alias(text), Self::Address),
        }
    }
}

#[derive(Default)]
struct Zone {
    names: BTreeMap<String, (u32, Vec<Says>)>,
    asked: Vec<String>,
}

/// A name server on loopback.
pub(crate) struct NameServer {
    port: u16,
    zone: Arc<Mutex<Zone>>,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, zone) = (socket.local_addr().unwrap().port(), Arc::new(Mutex::new(Zone::default())));
        let names = zone.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
                if let Some(answer) = names.lock().unwrap().answer(&query) {
                    let _ = socket.send_to(&answer.to_vec().unwrap(), from);
                }
            }
        });
        Self { port, zone }
    }

    /// From now on a name means this, for so many seconds: addresses, or the name it stands for, or nothing for silence.
    pub(crate) fn says(&self, name: &str, ttl: u32, what: &[&'static str]) {
        let what = what.iter().map(|text| Says::from(*text)).collect();
        self.zone.lock().unwrap().names.insert(name.to_owned(), (ttl, what));
    }

    /// How often somebody asked for the IPv4 addresses of a name.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.zone.lock().unwrap().asked.iter().filter(|asked| *asked == name).count()
    }

    /// The operator of `world` names it as the server to ask.
    pub(crate) fn serves(&self, world: &World) {
        world.configure(&format!("[egress]\nname-servers = [\"127.0.0.1:{}\"]\n", self.port));
    }
}

impl Zone {
    fn answer(&mut self, query: &Message) -> Option<Message> {
        let asked = query.queries.first()?;
        let mut name = asked.name().to_string().trim_end_matches('.').to_ascii_lowercase();
        if asked.query_type() == RecordType::A {
            self.asked.push(name.clone());
        }
        let mut answer = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(asked.clone());
        // As a recursive server does, it follows what a name stands for.
        loop {
            let Some((ttl, what)) = self.names.get(&name) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                return Some(answer);
            };
            let owner = Name::from_ascii(format!("{name}.")).unwrap();
            let mut next = None;
            for one in what {
                let data = match one {
                    Says::Nothing => return None,
                    Says::Alias(other) => {
                        next = Some((*other).to_owned());
                        RData::CNAME(CNAME(Name::from_ascii(format!("{other}.")).unwrap()))
                    }
                    Says::Address(IpAddr::V4(v4)) if asked.query_type() == RecordType::A => RData::A((*v4).into()),
                    Says::Address(IpAddr::V6(v6)) if asked.query_type() == RecordType::AAAA => {
                        RData::AAAA((*v6).into())
                    }
                    Says::Address(_) => continue,
                };
                answer.add_answer(Record::from_rdata(owner.clone(), *ttl, data));
            }
            match next {
                Some(other) => name = other,
                None => return Some(answer),
            }
        }
    }
}
