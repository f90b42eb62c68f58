//! From where a request comes, as far as limits are concerned.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, request::Parts},
    middleware::Next,
    response::Response,
};
use clap::ValueEnum;
use ipnet::IpNet;

/// The header in which a trusted proxy tells whose request it passes on. Only this one is believed: a
/// proxy passes others on as the client made them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = match text.trim().parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address.to_canonical())),
            Err(_) => text.trim().parse::<IpNet>(),
        };
        network
            .map(Self)
            .map_err(|_| format!("{text:?} is neither an address nor a network such as 10.0.0.0/8"))
    }
}

/// Which proxies are believed, and by which header.
#[derive(Debug, Clone)]
pub struct Proxies {
    trusted: Arc<[Network]>,
    header: ProxyHeader,
}

impl Proxies {
    /// Believes requests from `trusted` addresses, and nobody where there is none.
    pub fn new(trusted: &[Network], header: ProxyHeader) -> Self {
        Self { trusted: trusted.into(), header }
    }

    /// Whether no proxy is believed.
    pub fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.0.contains(&address))
    }

    /// The last address on the way here that is not a trusted proxy's. What stands before it in the
    /// header is what that client says, and anybody can say anything.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let name = match self.header {
            ProxyHeader::XForwardedFor => "x-forwarded-for",
            ProxyHeader::Forwarded => "forwarded",
        };
        let mut client = peer.to_canonical();
        for line in headers.get_all(name).iter().rev() {
            let Ok(line) = line.to_str() else { return client };
            for hop in line.split(',').rev() {
                if !self.trusts(client) {
                    return client;
                }
                let address = match self.header {
                    ProxyHeader::XForwardedFor => address(hop.trim()),
                    ProxyHeader::Forwarded => forwarded_for(hop).and_then(address),
                };
                // A proxy that does not say where a request is from is where it is from.
                let Some(address) = address else { return client };
                client = address;
            }
        }
        client
    }
}

/// The value of `for` in one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// A client's address: an IPv4 address, or the network of 64 bits in IPv6, within which a host picks its
/// address itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(IpAddr);

impl Client {
    /// The client at `address`.
    pub fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)))
            }
            address => address,
        })
    }

    /// The address, or the network's first one.
    pub fn address(&self) -> IpAddr {
        self.0
    }
}

/// Tells handlers their [`Client`].
pub(crate) async fn tell(
    State(proxies): State<Proxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let client = Client::new(proxies.client(peer, request.headers()));
    request.extensions_mut().insert(client);
    next.run(request).await
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let nowhere = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(parts.extensions.get().copied().unwrap_or(nowhere))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn client(trusted: &[&str], header: ProxyHeader, peer: &str, lines: &[&'static str]) -> String {
        let trusted: Vec<Network> =
            trusted.iter().map(|text| text.parse().expect("a network")).collect();
        let name = match header {
            ProxyHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            ProxyHeader::Forwarded => HeaderName::from_static("forwarded"),
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_static(line));
        }
        let peer = peer.parse().expect("an address");
        Proxies::new(&trusted, header).client(peer, &headers).to_string()
    }

    #[test]
    fn a_client_is_the_last_address_that_no_trusted_proxy_has() {
        let xff = |trusted: &[&str], peer, lines: &[&'static str]| {
            client(trusted, ProxyHeader::XForwardedFor, peer, lines)
        };
        let inside = ["10.0.0.0/8", "::1"];
        // No proxy is believed unless told.
        assert_eq!(xff(&[], "10.0.0.1", &["192.0.2.1"]), "10.0.0.1");
        assert_eq!(xff(&inside, "192.0.2.9", &["192.0.2.1"]), "192.0.2.9");
        assert_eq!(xff(&inside, "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(xff(&inside, "10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(xff(&inside, "::ffff:10.0.0.1", &["192.0.2.1:4711"]), "192.0.2.1");
        // The client's own tales stand before what the proxies have added.
        assert_eq!(xff(&inside, "10.0.0.1", &["1.2.3.4, 192.0.2.1, 10.9.9.9"]), "192.0.2.1");
        assert_eq!(xff(&inside, "10.0.0.1", &["1.2.3.4", "192.0.2.1", "10.9.9.9"]), "192.0.2.1");
        assert_eq!(xff(&inside, "10.0.0.1", &["192.0.2.1, nonsense"]), "10.0.0.1");
        assert_eq!(xff(&inside, "::1", &["[2001:db8::1]:80"]), "2001:db8::1");

        let told =
            |lines: &[&'static str]| client(&inside, ProxyHeader::Forwarded, "10.0.0.1", lines);
        assert_eq!(told(&["for=192.0.2.1;proto=https;by=10.0.0.1"]), "192.0.2.1");
        assert_eq!(told(&["For=\"[2001:db8::1]:4711\""]), "2001:db8::1");
        assert_eq!(told(&["for=1.2.3.4, for=192.0.2.1"]), "192.0.2.1");
        assert_eq!(told(&["for=unknown"]), "10.0.0.1");
    }

    #[test]
    fn a_host_cannot_pick_another_address_of_its_own_network() {
        let client = |text: &str| Client::new(text.parse().expect("an address"));
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::7"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:192.0.2.7"), client("192.0.2.7"));
    }
}
