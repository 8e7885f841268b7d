package io.kvasir.transport;

/**
 * Another node: where its link listens, and which start of it is meant. A node that was started again answers at the
 * same address under another incarnation and is another peer.
 */
public record Peer(String host, int port, Incarnation incarnation) {
    /** Longest host name that a handshake carries, in bytes of ASCII. */
    public static final int MAX_HOST = 254;

    public Peer {
        if (host.isEmpty() || host.length() > MAX_HOST || !host.chars().allMatch(c -> c > ' ' && c < 0x7f)) {
            throw new LinkException("peer host is \"" + host + "\"; it must be 1 to " + MAX_HOST + " visible ASCII");
        }
        if (port < 1 || port > 0xffff) {
            throw new LinkException("peer port of " + host + " is " + port + "; it must be 1 to 65535");
        }
    }

    /** {@code host:port}, as in a channel; an IPv6 address in brackets. */
    public String endpoint() {
        return host.indexOf(':') >= 0 && !host.startsWith("[") ? "[" + host + "]:" + port : host + ":" + port;
    }

    @Override
    public String toString() {
        return endpoint() + "/" + incarnation;
    }
}
