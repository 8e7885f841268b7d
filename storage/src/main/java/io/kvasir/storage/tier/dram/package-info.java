/**
 * The DRAM tier: region files in shared memory that engines map, the header tables that are the truth about them, and
 * the rules under which a slot is written, read, kept and used again. One thread owns all of it.
 */
package io.kvasir.storage.tier.dram;
