//! From where a request comes, as far as limits are concerned.

use std::net::{IpAddr, Ipv6Addr};

/// The client's address, where the server tells it: [`serve`](super::serve) does, and axum's own with
/// `into_make_service_with_connect_info`.
#[cfg(feature = "http-push")]
pub(in crate::transport) fn peer(request: &axum::http::request::Parts) -> Option<IpAddr> {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;

    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map(|peer| network(peer.0.ip()))
}

/// Addresses that count as one: an IPv4 address, and of IPv6 the 64 bits of a network, within which a
/// host picks its address itself.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_cannot_pick_another_address_of_its_own_network() {
        let network = |text: &str| super::network(text.parse().expect("an address"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::7"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
        assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
    }
}
