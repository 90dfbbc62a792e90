package localcloud

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/renameio/v2"
	"google.golang.org/protobuf/proto"
)

// file keeps the records: one frame each of length, checksum and wire form.
// A frame that a kill cut short ends the reading, and is cut off.
type file struct {
	f    *os.File
	path string
	size int64
}

const frameHeader = 8

// keepIn reads the file back and keeps all later records in it too.
func (s *store) keepIn(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the entries' file: %w", err)
	}
	records, size, err := readFrames(bufio.NewReaderSize(f, 1<<20))
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("read the entries' file %s: %w", path, err)
	}
	s.file = &file{f: f, path: path, size: size}
	s.insert(s.unseen(records))
	return s.bound()
}

func readFrames(r io.Reader) (records []*record, size int64, err error) {
	for {
		wire, err := readFrame(r)
		if errors.Is(err, io.EOF) || errors.Is(err, errBroken) {
			return records, size, nil
		}
		if err != nil {
			return nil, 0, err
		}
		e := new(loggingpb.LogEntry)
		if proto.Unmarshal(wire, e) != nil {
			return records, size, nil
		}
		records = append(records, newRecord(e, wire, nil))
		size += int64(frameHeader + len(wire))
	}
}

var errBroken = errors.New("a frame is cut short or does not match its checksum")

func readFrame(r io.Reader) ([]byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, broken(err)
	}
	length := binary.LittleEndian.Uint32(header[:])
	if length > 2*maxRequestBytes {
		return nil, errBroken
	}
	wire := make([]byte, length)
	if _, err := io.ReadFull(r, wire); err != nil {
		return nil, broken(err)
	}
	if crc32.ChecksumIEEE(wire) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, errBroken
	}
	return wire, nil
}

func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errBroken
	}
	return err
}

func frames(records []*record) []byte {
	var b []byte
	for _, r := range records {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r.wire)))
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(r.wire))
		b = append(b, r.wire...)
	}
	return b
}

// appendRecords writes all or, where the disk is full, nothing.
func (f *file) appendRecords(records []*record) error {
	b := frames(records)
	if _, err := f.f.Write(b); err != nil {
		return errors.Join(err, f.f.Truncate(f.size), f.seekEnd())
	}
	f.size += int64(len(b))
	return nil
}

func (f *file) seekEnd() error {
	_, err := f.f.Seek(f.size, io.SeekStart)
	return err
}

// shortenFile drops from the file what was evicted, once that is half of it.
func (s *store) shortenFile() error {
	if s.file == nil || s.file.size < 2*s.max {
		return nil
	}
	return s.rewriteFile()
}

// rewriteFile replaces the file by one with the present records alone.
func (s *store) rewriteFile() error {
	if s.file == nil {
		return nil
	}
	if err := renameio.WriteFile(s.file.path, frames(s.ordered), 0o600); err != nil {
		return fmt.Errorf("rewrite the entries' file: %w", err)
	}
	f, err := os.OpenFile(s.file.path, os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the entries' file: %w", err)
	}
	s.file.f.Close()
	s.file.f = f
	s.file.size, err = f.Seek(0, io.SeekEnd)
	return err
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	if err := s.file.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
