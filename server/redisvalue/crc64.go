package redisvalue

import "hash/crc64"

// jonesTable is of the "Jones" polynomial 0xad93d23594c935a9, here in reversed bit order.
var jonesTable = crc64.MakeTable(0x95ac9329ac4bc9b5)

// checksum is Redis's CRC-64, which inverts neither before nor after as hash/crc64 does.
func checksum(b []byte) uint64 {
	return ^crc64.Update(^uint64(0), jonesTable, b)
}
