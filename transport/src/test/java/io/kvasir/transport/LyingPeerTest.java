package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.transport.LinkCounters.Counter;
import io.kvasir.transport.wire.DoneEncoder;
import io.kvasir.transport.wire.MessageHeaderEncoder;
import io.kvasir.transport.wire.SliceEncoder;
import java.nio.ByteBuffer;
import java.util.List;
import org.agrona.concurrent.UnsafeBuffer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a peer can do that knows the secret and sends slices that are wrong. The receiving side is the real one. */
class LyingPeerTest {
    private static final int LENGTH = 4000;
    private static final int SLICE = 1000;
    private final SimulatedNetwork network = new SimulatedNetwork(1);
    private final Shelf here = new Shelf();
    private final Shelf there = new Shelf();
    private final LinkCounters counters = new LinkCounters();
    private final Ends ends = new Ends();
    private PeerLink puller;
    private PeerLink holder;
    private Link link;
    private InboundTransfer transfer;

    @BeforeEach
    void reserve() {
        final Peer self = new Peer("here", 1, new Incarnation(1, 1));
        final Peer peer = new Peer("there", 2, new Incarnation(2, 2));
        puller = link(self, here, counters);
        holder = link(peer, there, new LinkCounters());
        there.put(1, LENGTH);
        puller.pull(new PullRequest(
                List.of(peer), LinkFixture.names(1), network.nanoTime() + 1_000_000_000, Priority.LOAD, null, ends));
        // Up to the moment when the slot is reserved and the holder has not sent anything.
        while (here.reserved.isEmpty()) {
            network.pass(10_000);
            puller.doWork();
            holder.doWork();
        }
        puller.doWork();
        link = puller.links().get(0);
        transfer = link.inbound.values().iterator().next();
        assertTrue(transfer.objects[0].accepted);
    }

    private PeerLink link(final Peer self, final Shelf shelf, final LinkCounters count) {
        return PeerLink.over(
                new LinkContext()
                        .self(self)
                        .secret(LinkFixture.SECRET)
                        .source(shelf)
                        .sink(shelf)
                        .counters(count)
                        .nanoClock(network::nanoTime),
                network.wire(self));
    }

    @AfterEach
    void close() {
        puller.onClose();
        holder.onClose();
        assertTrue(here.reserved.isEmpty());
    }

    private long tag() {
        return there.held.get(Shelf.name(1)).version.tag();
    }

    /** A slice of the true bytes at {@code position}, said to be what the arguments say. */
    private void slice(
            final long number, final int index, final long tag, final long position, final int said, final int length) {
        final int ahead = MessageHeaderEncoder.ENCODED_LENGTH + SliceEncoder.BLOCK_LENGTH;
        final UnsafeBuffer buffer = new UnsafeBuffer(ByteBuffer.allocateDirect(ahead + length));
        new SliceEncoder()
                .wrapAndApplyHeader(buffer, 0, new MessageHeaderEncoder())
                .transfer(number)
                .versionTag(tag)
                .position(position)
                .index(index)
                .length(said)
                .keyEpoch(0)
                .flags(0);
        for (int i = 0; i < length && position >= 0 && position + i < LENGTH; i++) {
            buffer.putByte(
                    ahead + i,
                    there.held.get(Shelf.name(1)).bytes.get(java.lang.foreign.ValueLayout.JAVA_BYTE, position + i));
        }
        puller.handler().onData(link, buffer, 0, ahead + length);
    }

    private long received() {
        return transfer.objects[0].received;
    }

    @Test
    void slicesThatAreNotTheNextOfTheirObjectAreNotCopied() {
        slice(transfer.number, 0, tag(), SLICE, SLICE, SLICE);
        slice(transfer.number, 0, tag(), -SLICE, SLICE, SLICE);
        slice(transfer.number, 0, tag(), Long.MAX_VALUE - 10, SLICE, SLICE);
        slice(transfer.number, 0, tag(), Long.MIN_VALUE, SLICE, SLICE);
        assertEquals(0, received());
        assertEquals(4, counters.get(Counter.SLICES_OUT_OF_PLACE));
        slice(transfer.number, 0, tag(), 0, SLICE, SLICE);
        slice(transfer.number, 0, tag(), 0, SLICE, SLICE);
        assertEquals(SLICE, received());
        assertEquals(5, counters.get(Counter.SLICES_OUT_OF_PLACE));
    }

    @Test
    void slicesThatReachBeyondTheirObjectAreNotCopied() {
        slice(transfer.number, 0, tag(), 0, LENGTH + 1, LENGTH + 1);
        assertEquals(0, received());
        slice(transfer.number, 0, tag(), 0, SLICE, SLICE);
        slice(transfer.number, 0, tag(), SLICE, LENGTH - SLICE + 1, LENGTH - SLICE + 1);
        assertEquals(SLICE, received());
    }

    @Test
    void slicesWhoseLengthIsNotTheirMessagesAreNotCopied() {
        slice(transfer.number, 0, tag(), 0, SLICE, SLICE - 1);
        slice(transfer.number, 0, tag(), 0, SLICE, SLICE + 1);
        slice(transfer.number, 0, tag(), 0, -1, SLICE);
        assertEquals(0, received());
        assertEquals(3, counters.get(Counter.SLICES_OUT_OF_PLACE));
    }

    @Test
    void slicesOfAnotherVersionAreNotCopied() {
        slice(transfer.number, 0, tag() + 1, 0, SLICE, SLICE);
        assertEquals(0, received());
    }

    @Test
    void slicesOfForeignTransfersAndObjectsFindNothing() {
        slice(transfer.number + 1, 0, tag(), 0, SLICE, SLICE);
        slice(0, 0, tag(), 0, SLICE, SLICE);
        slice(transfer.number, 1, tag(), 0, SLICE, SLICE);
        slice(transfer.number, -1, tag(), 0, SLICE, SLICE);
        assertEquals(0, received());
        assertEquals(4, counters.get(Counter.SLICES_UNKNOWN));
    }

    @Test
    void aConfirmationThatIsNotSealedCompletesNothing() {
        for (int at = 0; at < LENGTH; at += SLICE) {
            slice(transfer.number, 0, tag(), at, SLICE, SLICE);
        }
        assertEquals(LENGTH, received());
        final int length = MessageHeaderEncoder.ENCODED_LENGTH + DoneEncoder.BLOCK_LENGTH;
        final UnsafeBuffer buffer = new UnsafeBuffer(ByteBuffer.allocateDirect(length + LinkKeys.SEAL));
        new DoneEncoder()
                .wrapAndApplyHeader(buffer, 0, new MessageHeaderEncoder())
                .transfer(transfer.number)
                .versionTag(tag())
                .index(0)
                .unchanged((short) 1);
        puller.handler().onData(link, buffer, 0, length + LinkKeys.SEAL);
        assertFalse(ends.ended);
        assertEquals(0, here.completed);
        assertEquals(1, counters.get(Counter.REFUSED_MESSAGES));
    }

    @Test
    void aSlotThatWasReleasedIsNotWrittenByWhatComesLate() {
        final Shelf.Held slot = here.reserved.get(Shelf.name(1));
        slice(transfer.number, 0, tag(), 0, SLICE, SLICE);
        puller.receiver().endAll(Outcome.CANCELLED);
        final int own = Shelf.crc(slot.bytes);
        slice(transfer.number, 0, tag(), SLICE, SLICE, SLICE);
        assertEquals(own, Shelf.crc(slot.bytes), "the shelf's own bytes stay");
        assertEquals(1, counters.get(Counter.SLICES_UNKNOWN));
    }

    @Test
    void aFrameThatSaysItIsAGibibyteCostsTheLinkAndNoMemory() {
        final UnsafeBuffer buffer = new UnsafeBuffer(ByteBuffer.allocateDirect(1 << 10));
        puller.control().onControl(link.source, buffer, 0, 1 << 30);
        assertEquals(Link.Phase.CLOSED, link.phase);
        puller.control().onControl(link.source + 1, buffer, 0, Integer.MAX_VALUE);
        assertEquals(2, counters.get(Counter.REFUSED_MESSAGES));
    }
}
