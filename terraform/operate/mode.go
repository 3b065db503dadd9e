package main

import (
	"context"
	"fmt"
	"io"

	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/store"
)

// mode turns the switch that makes the mode of all running processes more careful than their setting, or shows it.
func mode(ctx context.Context, args []string) error {
	o := newOptions("mode")
	word, err := o.word(args, "mode", "off|observe|clear|show")
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
	set, _, err := documents.Mode(ctx)
	if err != nil {
		return err
	}
	return o.show(map[string]string{"mode": set}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, said)
		return err
	})
}

const soon = "; every process knows within 10 s"

func turn(ctx context.Context, documents *store.Store, word string) (said string, err error) {
	switch word {
	case "clear":
		return "the mode is what ROLLOUT_MODE says" + soon, documents.ClearMode(ctx)
	case string(keypackage.ModeOff), string(keypackage.ModeObserve):
		return "the mode is " + word + ", unless ROLLOUT_MODE is more careful" + soon, documents.SetMode(ctx, keypackage.Mode(word))
	case "show":
		set, exists, err := documents.Mode(ctx)
		if !exists {
			return "the switch is not set: the mode is what ROLLOUT_MODE says", err
		}
		return fmt.Sprintf("the switch is set to %q", set), err
	}
	return "", fmt.Errorf("the mode can be off, observe or clear, or one can show it; not %q", word)
}
