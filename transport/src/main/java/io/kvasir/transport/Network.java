package io.kvasir.transport;

import java.io.IOException;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.StandardSocketOptions;
import java.nio.channels.DatagramChannel;

/** What this machine's network allows. */
final class Network {
    private static final int IPV4_UDP_HEADERS = 28;
    private static final int IPV6_UDP_HEADERS = 48;

    private Network() {}

    /** Bytes that fit into one frame of the card that has this address, rounded down to Aeron's alignment. */
    static int payloadOf(final String host, final int most) {
        try {
            final InetAddress address = InetAddress.getByName(host);
            final NetworkInterface card = NetworkInterface.getByInetAddress(address);
            if (card == null) {
                throw new LinkException("no network card of this machine has the link's address " + host);
            }
            final int headers = address instanceof Inet6Address ? IPV6_UDP_HEADERS : IPV4_UDP_HEADERS;
            return Math.min(most, card.getMTU() - headers) & -32;
        } catch (final IOException e) {
            throw new LinkException("the link's address " + host + " can't be used: " + e.getMessage());
        }
    }

    /** What the kernel gives of a receive buffer of this size. */
    static int grantedReceiveBuffer(final int wanted) {
        try (DatagramChannel channel = DatagramChannel.open()) {
            channel.setOption(StandardSocketOptions.SO_RCVBUF, wanted);
            return Math.min(wanted, channel.getOption(StandardSocketOptions.SO_RCVBUF));
        } catch (final IOException e) {
            throw new LinkException("no UDP socket can be opened: " + e.getMessage());
        }
    }
}
