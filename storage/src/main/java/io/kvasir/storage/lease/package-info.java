/** Rights that end at a time: to read leased slots, to write reserved ones. Knows no tier: entries are numbers. */
package io.kvasir.storage.lease;
