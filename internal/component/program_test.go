// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component_test

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// windowsProgram makes a program for Windows with the build record Go writes
// (debug/buildinfo): a mark, the version and the modules, in the data section.
func windowsProgram(t *testing.T) string {
	t.Helper()
	modules := strings.Repeat("x", 16) + "path\texample.test/app\nmod\texample.test/app\t(devel)\t\ndep\tgolang.org/x/net\tv0.20.0\th1:x\n" + strings.Repeat("x", 16)
	const version = "go1.26.1"
	record := "\xff Go buildinf:\x08\x02" + strings.Repeat("\x00", 16) + string(rune(len(version))) + version +
		string(binary.AppendUvarint(nil, uint64(len(modules)))) + modules
	record += strings.Repeat("\x00", 512-len(record))

	var out bytes.Buffer
	header := make([]byte, 0x40)
	copy(header, "MZ")
	header[0x3c] = 0x40
	out.Write(append(header, "PE\x00\x00"...))
	const data = 0x200
	for _, part := range []any{
		pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(pe.OptionalHeader64{}))},
		pe.OptionalHeader64{Magic: 0x20b, NumberOfRvaAndSizes: 16},
		pe.SectionHeader32{
			Name: [8]uint8{'.', 'd', 'a', 't', 'a'}, VirtualSize: 512, VirtualAddress: 0x1000, SizeOfRawData: 512, PointerToRawData: data,
			Characteristics: pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ | pe.IMAGE_SCN_MEM_WRITE | 0x00600000,
		},
	} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	out.Write(make([]byte, data-out.Len()))
	return out.String() + record
}

func TestWindowsProgram(t *testing.T) {
	inv := inventoryOf(t, layerOf(t, file{name: "app.exe", text: windowsProgram(t)}))
	if got := names(inv); !slices.Contains(got, "golang.org/x/net v0.20.0@0") || !slices.Contains(got, "stdlib 1.26.1@0") {
		t.Errorf("got %q, problems %v", got, inv.Problems)
	}
}

func TestInstalledPHP(t *testing.T) {
	const package1 = `{"name": "monolog/monolog", "version": "3.5.0", "type": "library"}`
	for name, tt := range map[string]struct {
		text     string
		want     []string
		problems int
	}{
		"Composer 2":        {`{"packages": [` + package1 + `], "dev": true}`, []string{"monolog/monolog 3.5.0@0"}, 0},
		"Composer 1":        {`[` + package1 + `]`, []string{"monolog/monolog 3.5.0@0"}, 0},
		"an impossible one": {`[` + package1 + `, {"name": "../x", "version": "1"}]`, []string{"monolog/monolog 3.5.0@0"}, 1},
		"no list":           {`{"packages": 7}`, []string{}, 1},
	} {
		inv := inventoryOf(t, layerOf(t, file{name: "app/vendor/composer/installed.json", text: tt.text}))
		if got := names(inv); !slices.Equal(got, tt.want) || len(inv.Problems) != tt.problems {
			t.Errorf("%s: got %q, problems %v", name, got, inv.Problems)
		}
		if len(inv.Components) > 0 && (inv.Components[0].Ecosystem != "Packagist" || inv.Components[0].PURL != "pkg:composer/monolog/monolog@3.5.0") {
			t.Errorf("%s: %+v", name, inv.Components[0])
		}
	}
}
