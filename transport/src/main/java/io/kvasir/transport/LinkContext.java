package io.kvasir.transport;

import io.aeron.driver.ThreadingMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.function.LongSupplier;
import org.agrona.BitUtil;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;

/**
 * What a {@link PeerLink} needs. Set, conclude once by handing it to the link, then leave alone. The defaults suit
 * loopback and networks up to 25 GbE; {@code docs/transport.md} says what to change beyond, and why.
 */
public final class LinkContext implements Cloneable {
    /** Shortest cluster secret, in bytes: 128 bits, if it is random. */
    public static final int MIN_SECRET = 16;

    /** Most objects of one transfer. */
    public static final int MAX_OBJECTS = 1 << 16;

    private static final int PAGE = 4096;
    private static final int MIN_TERM = 64 << 10;
    private static final int MAX_TERM = 1 << 30;
    private static final int MIN_MTU = 1024;
    private static final int MAX_MTU = 65504;

    private Peer self;
    private String listen;
    private Path aeronDirectory;
    private byte[] secret;
    private int mtu;
    private int termLength = 1 << 20;
    private int window = 512 << 10;
    private ThreadingMode threadingMode = ThreadingMode.INVOKER;
    private int dataStreams = 1;
    private long credits = 64L << 20;
    private int maxLinks = 64;
    private int maxTransfers = 1024;
    private int maxOpenObjects = 64;
    private int maxReservations = 4096;
    private long maxObjectBytes = 1L << 30;
    private Duration idleClose = Duration.ofSeconds(60);
    private Duration handshakeTimeout = Duration.ofSeconds(2);
    private Duration silence = Duration.ofSeconds(5);
    private Duration stall = Duration.ofMillis(500);
    private ObjectSource source;
    private ObjectSink sink;
    private LinkErrors errors = LinkErrors.NONE;
    private LinkCounters counters = new LinkCounters();
    private Runnable wakeup = () -> {};
    private NanoClock nanoClock = SystemNanoClock.INSTANCE;
    private LongSupplier random = new SecureRandom()::nextLong;

    /** This node: where peers reach its link (UDP), and its incarnation. */
    public LinkContext self(final Peer value) {
        self = value;
        return this;
    }

    public Peer self() {
        return self;
    }

    /** {@code host:port} to listen at, if that is not where peers reach it; null: {@link #self}'s. */
    public LinkContext listen(final String endpoint) {
        listen = endpoint;
        return this;
    }

    public String listen() {
        return listen == null ? self.endpoint() : listen;
    }

    /** Directory of the embedded media driver's buffers, on a tmpfs; made, and removed at the end. */
    public LinkContext aeronDirectory(final Path value) {
        aeronDirectory = value;
        return this;
    }

    public Path aeronDirectory() {
        return aeronDirectory;
    }

    /** What proves membership; the same on all nodes of the cluster. */
    public LinkContext secret(final byte[] value) {
        secret = value.clone();
        return this;
    }

    /** The same, of text. */
    public LinkContext secret(final String value) {
        return secret(value.getBytes(StandardCharsets.UTF_8));
    }

    byte[] secret() {
        return secret;
    }

    /**
     * Largest UDP payload in bytes, a multiple of 32 from 1024 to 65504; 0: what the network card of {@link #self}
     * carries in one frame, 65504 on loopback.
     */
    public LinkContext mtu(final int bytes) {
        mtu = bytes;
        return this;
    }

    public int mtu() {
        return mtu;
    }

    /** A data stream's term in bytes, a power of two; a stream has three at each end. */
    public LinkContext termLength(final int bytes) {
        termLength = bytes;
        return this;
    }

    public int termLength() {
        return termLength;
    }

    /**
     * Most bytes of one data stream on the network; the receiver's. At most half a term. What the kernel grants as a
     * socket's receive buffer (net.core.rmem_max) bounds it.
     */
    public LinkContext window(final int bytes) {
        window = bytes;
        return this;
    }

    public int window() {
        return window;
    }

    /** INVOKER: the media driver runs on the link's thread. SHARED, DEDICATED: on one, three threads of its own. */
    public LinkContext threadingMode(final ThreadingMode value) {
        threadingMode = value;
        return this;
    }

    public ThreadingMode threadingMode() {
        return threadingMode;
    }

    /** Data streams of each pair of nodes and direction, 1 to 8. */
    public LinkContext dataStreams(final int value) {
        dataStreams = value;
        return this;
    }

    public int dataStreams() {
        return dataStreams;
    }

    /** Most bytes of each peer that may be under way to this node: accepted and not yet complete. */
    public LinkContext credits(final long bytes) {
        credits = bytes;
        return this;
    }

    public long credits() {
        return credits;
    }

    /** Most peers that are linked at a time; one that is idle gives way. */
    public LinkContext maxLinks(final int value) {
        maxLinks = value;
        return this;
    }

    public int maxLinks() {
        return maxLinks;
    }

    /** Most pulls and pushes that this node has under way, and most that one peer may have here. */
    public LinkContext maxTransfers(final int value) {
        maxTransfers = value;
        return this;
    }

    public int maxTransfers() {
        return maxTransfers;
    }

    /** Most objects of the source that are asked for or held for one peer. */
    public LinkContext maxOpenObjects(final int value) {
        maxOpenObjects = value;
        return this;
    }

    public int maxOpenObjects() {
        return maxOpenObjects;
    }

    /** Most offers and reservations of the sink that are under way, of all peers. */
    public LinkContext maxReservations(final int value) {
        maxReservations = value;
        return this;
    }

    public int maxReservations() {
        return maxReservations;
    }

    /** A peer that offers a larger object is refused. */
    public LinkContext maxObjectBytes(final long bytes) {
        maxObjectBytes = bytes;
        return this;
    }

    public long maxObjectBytes() {
        return maxObjectBytes;
    }

    /** A link without transfers closes after this time. */
    public LinkContext idleClose(final Duration value) {
        idleClose = value;
        return this;
    }

    public Duration idleClose() {
        return idleClose;
    }

    /** How long a peer may take to answer a handshake. */
    public LinkContext handshakeTimeout(final Duration value) {
        handshakeTimeout = value;
        return this;
    }

    public Duration handshakeTimeout() {
        return handshakeTimeout;
    }

    /** A peer from which nothing comes for this time, not even Aeron's heartbeats, is lost. */
    public LinkContext silence(final Duration value) {
        silence = value;
        return this;
    }

    public Duration silence() {
        return silence;
    }

    /** A pull that has not moved for this time goes on with the next holder, if it has one. */
    public LinkContext stall(final Duration value) {
        stall = value;
        return this;
    }

    public Duration stall() {
        return stall;
    }

    /** Where peers' pulls and own pushes get their bytes. */
    public LinkContext source(final ObjectSource value) {
        source = value;
        return this;
    }

    public ObjectSource source() {
        return source;
    }

    /** Where own pulls and peers' pushes put their bytes. */
    public LinkContext sink(final ObjectSink value) {
        sink = value;
        return this;
    }

    public ObjectSink sink() {
        return sink;
    }

    public LinkContext errors(final LinkErrors value) {
        errors = value;
        return this;
    }

    public LinkErrors errors() {
        return errors;
    }

    /** Where the link counts; the owner of metrics reads them. */
    public LinkContext counters(final LinkCounters value) {
        counters = value;
        return this;
    }

    public LinkCounters counters() {
        return counters;
    }

    /** Called by other threads when {@link PeerLink#doWork()} has something to do. */
    public LinkContext wakeup(final Runnable value) {
        wakeup = value;
        return this;
    }

    Runnable wakeup() {
        return wakeup;
    }

    /** Of deadlines and all waits. */
    public LinkContext nanoClock(final NanoClock value) {
        nanoClock = value;
        return this;
    }

    public NanoClock nanoClock() {
        return nanoClock;
    }

    /** Draws transfer numbers and nonces: unguessable, except in a simulation. */
    public LinkContext random(final LongSupplier value) {
        random = value;
        return this;
    }

    LongSupplier random() {
        return random;
    }

    /**
     * Most bytes of shared memory that the streams of all open links take: three terms and a page for each end of each
     * stream, both directions. Links that were just closed may take as much again.
     */
    public long maxBufferBytes() {
        final long control = 3L * AeronWire.CONTROL_TERM + PAGE;
        final long data = 3L * termLength + PAGE;
        return 2L * maxLinks * (control + dataStreams * data);
    }

    /** A checked copy, with what was left to be decided decided. */
    LinkContext conclude() {
        need("self", self);
        need("aeron directory", aeronDirectory);
        need("secret", secret);
        need("source", source);
        need("sink", sink);
        if (secret.length < MIN_SECRET) {
            throw new LinkException("the cluster secret has " + secret.length + " bytes; it needs at least "
                    + MIN_SECRET + " random ones (openssl rand -hex 32 makes some)");
        }
        final LinkContext copy = copy();
        if (mtu == 0) {
            copy.mtu = Network.payloadOf(self.host(), MAX_MTU);
        }
        if (copy.mtu < MIN_MTU || copy.mtu > MAX_MTU || copy.mtu % 32 != 0) {
            throw new LinkException(
                    "link mtu is " + copy.mtu + "; it must be a multiple of 32 from " + MIN_MTU + " to " + MAX_MTU);
        }
        if (termLength < MIN_TERM || termLength > MAX_TERM || !BitUtil.isPowerOfTwo(termLength)) {
            throw new LinkException("link term length is " + termLength + "; it must be a power of two from " + MIN_TERM
                    + " to " + MAX_TERM);
        }
        if (termLength / 8 < copy.mtu && copy.mtu > MIN_TERM / 8) {
            throw new LinkException("link mtu is " + copy.mtu + " and term length " + termLength
                    + "; a term needs room for 8 datagrams");
        }
        copy.window = Network.grantedReceiveBuffer(window);
        if (window < copy.mtu || window > termLength / 2) {
            throw new LinkException("link window is " + window + "; it must be from the mtu (" + copy.mtu
                    + ") to half a term (" + termLength / 2 + ")");
        }
        if (copy.window < copy.mtu) {
            throw new LinkException("the kernel grants a socket " + copy.window + " bytes of receive buffer, less than"
                    + " the link's mtu (" + copy.mtu + "); raise net.core.rmem_max");
        }
        within("data streams", dataStreams, 1, 8);
        within("credits", credits, 1, Long.MAX_VALUE);
        within("max links", maxLinks, 1, 100_000);
        within("max transfers", maxTransfers, 1, 1 << 20);
        within("max open objects", maxOpenObjects, 1, 1 << 16);
        within("max reservations", maxReservations, 1, 1 << 20);
        within("max object bytes", maxObjectBytes, 1, Integer.MAX_VALUE);
        positive("idle close", idleClose);
        positive("handshake timeout", handshakeTimeout);
        positive("silence", silence);
        positive("stall", stall);
        return copy;
    }

    private LinkContext copy() {
        try {
            return (LinkContext) clone();
        } catch (final CloneNotSupportedException impossible) {
            throw new AssertionError(impossible);
        }
    }

    private static void need(final String name, final Object value) {
        if (value == null) {
            throw new LinkException("the link's " + name + " is not set");
        }
    }

    private static void within(final String name, final long value, final long least, final long most) {
        if (value < least || value > most) {
            throw new LinkException("link " + name + " is " + value + "; it must be " + least + " to " + most);
        }
    }

    private static void positive(final String name, final Duration value) {
        if (value.isNegative() || value.isZero() || value.compareTo(Duration.ofDays(1)) > 0) {
            throw new LinkException("link " + name + " is " + value + "; it must be above 0 and at most a day");
        }
    }
}
