# fish completion for logsh; starts no Python.
# Made from the commands themselves by `python -m completions`: change those, not this file.

complete -c logsh -f

# Read what stands before the cursor, once for all the conditions below. In __logsh_state: the place (the command's
# words without logsh), how many arguments it has, the word at which a command of the user's begins or 0, and the
# options given.
function __logsh_read
    set -l line (commandline -pc | string collect)
    test "$line" = "$__logsh_line"; and return
    set -g __logsh_line $line
    set -l place ''
    set -l count 0
    set -l start 0
    set -l given
    set -l value
    set -l ended
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        set -l word $words[$i]
        if test -n "$value"
            # Only now: with its value still to come, the option is the one that is being completed.
            set -a given $value
            set value
        else if test -z "$ended"; and test "$word" = --
            set ended 1
        else if test -z "$ended"; and string match -q -- '--*=*' $word
            set -a given (string split -m 1 = -- $word)[1]
        else if test -z "$ended"; and string match -q -- '--*' $word
            contains -- $word @VALUED@; and set value $word; or set -a given $word
        else if test -z "$ended"; and string match -q -- '-?*' $word
            set -l letters (string split '' -- (string sub -s 2 -- $word))
            while set -q letters[1]
                set -l name -$letters[1]
                set -e letters[1]
                if contains -- $name @VALUED@
                    set -q letters[1]; and set -a given $name; or set value $name
                    break
                end
                set -a given $name
            end
        else if contains -- "$place" @GROUPS@
            set place (string trim -- "$place $word")
            set given
        else if contains -- "$place" @LAUNCHERS@
            set start $i
            break
        else
            set count (math $count + 1)
        end
    end
    set -g __logsh_state "$place" $count $start $given
end

# Whether the cursor is at this place, after this many arguments if a number is given.
function __logsh_at
    __logsh_read
    test "$__logsh_state[1]" = "$argv[1]"; or return 1
    not set -q argv[2]; or test "$__logsh_state[2]" = "$argv[2]"
end

# Whether an option can be given here: it is the place, and none of its names was given yet.
function __logsh_takes
    __logsh_at $argv[1]; and test "$__logsh_state[3]" = 0; or return 1
    for name in $argv[2..-1]
        contains -- $name $__logsh_state[4..-1]; and return 1
    end
    return 0
end

# Complete the user's command as if it stood alone.
function __logsh_command
    set -l words (commandline -opc)
    set -l start $__logsh_state[3]
    if test $start -eq 0
        complete -C (commandline -ct | string collect)
    else
        complete -C (string join ' ' -- (string escape -- $words[$start..-1]) (commandline -ct) | string collect)
    end
end

function __logsh_profiles
    set -l directory (string replace -r '^~(?=/|$)' "$HOME" -- "$LOGSH_CONFIG_DIR")
    if test -z "$directory"
        if string match -q '/*' -- "$XDG_CONFIG_HOME"
            set directory $XDG_CONFIG_HOME/logsh
        else if test (uname) = Darwin
            set directory "$HOME/Library/Application Support/logsh"
        else
            set directory $HOME/.config/logsh
        end
    end
    echo default\tProfile
    test -r $directory/config.toml; or return
    set -l header '^ *\[ *profiles *\. *("([^"]+)"|\'([^\']+)\'|([A-Za-z0-9_-]+)) *\].*'
    command sed -nE "s/$header/\2\3\4/p" $directory/config.toml 2>/dev/null | string replace -r '$' \tProfile
end

function __logsh_emoji
    printf '%s\n' @EMOJI@
end

# The value of the configuration key before it.
function __logsh_setting
    set -l words (commandline -opc)
    if contains -- ca_file $words
        __fish_complete_path (commandline -ct)
    else if contains -- icon $words
        __logsh_emoji
    else if contains -- notify $words
        printf '%s\n' true false
    end
end
@LINES@
