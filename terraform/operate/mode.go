package main

import (
	"context"
	"fmt"
	"io"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// mode turns the switch that makes the mode of all running processes more careful than their setting.
func mode(ctx context.Context, args []string) error {
	o := newOptions("mode")
	word, err := o.word(args, "mode", "off|observe|clear")
	if err != nil {
		return err
	}
	documents, err := o.documents(ctx)
	if err != nil {
		return err
	}
	said, err := turn(ctx, documents, word)
	if err != nil {
		return err
	}
	return o.show(map[string]string{"mode": word}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, said+"; every process knows within 10 s")
		return err
	})
}

func turn(ctx context.Context, documents *store.Store, word string) (said string, err error) {
	switch word {
	case "clear":
		return "the mode is what ROLLOUT_MODE says", documents.ClearMode(ctx)
	case string(keypackage.ModeOff), string(keypackage.ModeObserve):
		return "the mode is " + word + ", unless ROLLOUT_MODE is more careful", documents.SetMode(ctx, keypackage.Mode(word))
	}
	return "", fmt.Errorf("the mode can be off, observe or clear, not %q", word)
}
