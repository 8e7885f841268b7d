package io.kvasir.bench.suite;

import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.dram.Payload;
import io.kvasir.transport.ObjectName;
import io.kvasir.transport.ObjectSink;
import io.kvasir.transport.ObjectVersion;
import io.kvasir.transport.Outcome;
import io.kvasir.transport.Peer;
import io.kvasir.transport.Priority;
import io.kvasir.transport.Reservation;
import io.kvasir.transport.SinkAnswer;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;

/** Gives slots of one size, over and over. */
final class LinkSlots implements ObjectSink {
    private final ArrayDeque<Payload> free = new ArrayDeque<>();
    long completedBytes;

    LinkSlots(final Payload memory, final int size) {
        for (long at = 0; at + size <= memory.byteSize(); at += size) {
            free.add(memory.slice(at, size));
        }
    }

    @Override
    public void offer(
            final ObjectName name,
            final ObjectVersion version,
            final Peer from,
            final long deadlineNs,
            final Priority priority,
            final SinkAnswer answer) {
        final Payload slot = free.poll();
        answer.accept(new Reservation() {
            @Override
            public void write(final long position, final MemorySegment from) {
                try {
                    slot.write(position, from);
                } catch (final PosixException e) {
                    throw new UncheckedIOException(e);
                }
            }

            @Override
            public void complete() {
                completedBytes += version.length();
                free.add(slot);
            }

            @Override
            public void failed(final Outcome reason) {
                free.add(slot);
            }
        });
    }
}
