package main

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// someFlags takes in of brig run's many flags those that a command line may
// have: each costs memory, and few of them are ever used together. Without asked
// it takes in all.
type someFlags struct {
	*pflag.FlagSet
	asked *asked
}

// asked are the names and letters of all that looks like a flag: too much
// rather than too little, since values and the job's own arguments may as well.
type asked struct {
	names   []string
	letters string
}

func askedBy(args []string) *asked {
	a := &asked{}
	for _, arg := range args {
		switch {
		case arg == "--":
			return a
		case strings.HasPrefix(arg, "--"):
			name, _, _ := strings.Cut(arg[2:], "=")
			a.names = append(a.names, name)
		case strings.HasPrefix(arg, "-"):
			a.letters += arg[1:]
		}
	}
	return a
}

func (s someFlags) want(name, short string) bool {
	return s.asked == nil || slices.Contains(s.asked.names, name) || short != "" && strings.Contains(s.asked.letters, short)
}

// VarP defines a flag with a letter, see pflag.
func (s someFlags) VarP(value pflag.Value, name, short, usage string) {
	if s.want(name, short) {
		s.FlagSet.VarP(value, name, short, usage)
	}
}

// StringVar defines a string flag, see pflag.
func (s someFlags) StringVar(p *string, name, value, usage string) {
	*p = value
	if s.want(name, "") {
		s.FlagSet.StringVar(p, name, value, usage)
	}
}

// BoolVarP defines a bool flag with a letter, see pflag.
func (s someFlags) BoolVarP(p *bool, name, short string, value bool, usage string) {
	*p = value
	if s.want(name, short) {
		s.FlagSet.BoolVarP(p, name, short, value, usage)
	}
}

// noValue is what the flag means without a value.
func (s someFlags) noValue(name, value string) {
	if f := s.Lookup(name); f != nil {
		f.NoOptDefVal = value
	}
}
