# bash completion for logsh; starts no Python, works with and without the bash-completion package.
# Made from the commands themselves by `python -m completions`: change those, not this file.

# What there is at a place: options as "names|what follows them", with a * where one may be repeated.
_logsh_table() {
    commands='' options=() arguments=()
    case $1 in
@CASES@
    esac
}

# Bash cuts words at : and = as well. Put together again in words, with the place where each began in starts, and the
# word at the cursor in cur.
_logsh_split() {
    local i part glue='' line=${COMP_LINE:0:COMP_POINT} bare
    words=() starts=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        part=${COMP_WORDS[i]}
        bare=${line#"${line%%[![:space:]]*}"}
        # What stands after the cursor is not looked at.
        ((i == COMP_CWORD)) && part=$bare
        if [[ $i -gt 0 && $bare == "$line" && ($part == [:=]* || -n $glue) ]]; then
            words[${#words[@]} - 1]=${words[${#words[@]} - 1]}$part
        else
            starts[${#words[@]}]=$i
            words[${#words[@]}]=$part
        fi
        glue=''
        [[ $part == *[:=] ]] && glue=1
        line=${bare#"$part"}
    done
    cword=$((${#words[@]} - 1))
    cur=${words[cword]}
}

# Look an option up: what follows it goes to kind, and it counts as given.
_logsh_find() {
    local i names
    kind=''
    for ((i = 0; i < ${#options[@]}; i++)); do
        names=${options[i]%%|*}
        case " ${names#\*} " in
        *" $1 "*)
            kind=${options[i]#*|}
            [[ $names == \** ]] || given="$given $i "
            return 0
            ;;
        esac
    done
    return 1
}

# One word of options that came before: --name, --name=value, -n, -nm, -nvalue. What the next word must be is left in
# kind.
_logsh_pass() {
    local letters
    case $1 in
    --*=*)
        _logsh_find "${1%%=*}"
        kind=''
        ;;
    --*)
        _logsh_find "$1"
        ;;
    *)
        letters=${1#-}
        while [[ -n $letters ]] && _logsh_find "-${letters:0:1}"; do
            letters=${letters:1}
            [[ -z $kind ]] && continue
            [[ -z $letters ]] || kind=''
            break
        done
        ;;
    esac
}

# Offer those words that go on from what is typed.
_logsh_offer() {
    local word
    for word in "$@"; do
        [[ $word == "$typed"* ]] && COMPREPLY[${#COMPREPLY[@]}]=$prefix$word
    done
}

# Let readline complete a file's name. Before bash 4 it does whenever nothing is offered.
_logsh_files() {
    COMPREPLY=()
    type compopt >/dev/null 2>&1 && compopt -o default
}

@PROFILE_NAMES@

_logsh_profiles() {
    local name
    while IFS= read -r name; do
        [[ $name == "$typed"* ]] || continue
        [[ -n $quote ]] || printf -v name %q "$name"
        COMPREPLY[${#COMPREPLY[@]}]=$prefix$name
    done < <(_logsh_profile_names)
}

# Offer what may follow. $1: its kind; $2: the argument before it.
_logsh_values() {
    local typed=$typed prefix=$prefix quote=''
    case $typed in
    [\"\']*)
        quote=${typed:0:1}
        typed=${typed:1}
        ;;
    esac
    case $1 in
    words\ *)
        # Unquoted to be split: these are words of the table above.
        _logsh_offer ${1#words }
        ;;
    files) _logsh_files ;;
    profiles) _logsh_profiles ;;
    emoji) _logsh_offer @SHORTCODES@ ;;
    setting)
        case $2 in
        ca_file) _logsh_files ;;
        icon) _logsh_values emoji ;;
        notify) _logsh_offer true false ;;
        esac
        ;;
    esac
}

# Complete the words from number $1 on as the command that they are.
_logsh_command() {
    local start=${starts[$1]} name specification function i whole
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$start"
        return
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$start"
        return
    fi
    if ((start == COMP_CWORD)); then
        case $cur in
        */* | \~* | [\"\']*) _logsh_files ;;
        *)
            while IFS= read -r name; do
                COMPREPLY[${#COMPREPLY[@]}]=$name
            done < <(compgen -c -- "$cur")
            ;;
        esac
        return
    fi
    name=${COMP_WORDS[start]}
    specification=$(complete -p -- "${name##*/}" 2>/dev/null)
    case $specification in
    *' -F '*)
        function=${specification#*-F }
        function=${function%% *}
        whole=${#COMP_LINE}
        for ((i = 0; i < start; i++)); do
            COMP_LINE=${COMP_LINE#*"${COMP_WORDS[i]}"}
        done
        COMP_LINE=${COMP_LINE#"${COMP_LINE%%[![:space:]]*}"}
        COMP_POINT=$((COMP_POINT - whole + ${#COMP_LINE}))
        COMP_WORDS=("${COMP_WORDS[@]:start}")
        COMP_CWORD=$((COMP_CWORD - start))
        "$function" "${name##*/}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        ;;
    *) _logsh_files ;;
    esac
}

_logsh() {
    local words starts cword cur commands options arguments
    local path=logsh given='' kind='' wanted='' before='' typed prefix='' count=0 ended='' i word name
    COMPREPLY=()
    _logsh_split
    _logsh_table "$path"
    for ((i = 1; i < cword; i++)); do
        word=${words[i]}
        if [[ -n $wanted ]]; then
            wanted=''
        elif [[ -z $ended && $word == -- ]]; then
            ended=1
        elif [[ -z $ended && $word == -?* ]]; then
            _logsh_pass "$word"
            wanted=$kind
        elif [[ -n $commands ]]; then
            path="$path $word" given='' ended=''
            _logsh_table "$path"
        elif [[ ${arguments[0]} == '*command' ]]; then
            _logsh_command "$i"
            return
        else
            before=$word
            [[ ${arguments[count]} == \** ]] || count=$((count + 1))
        fi
    done

    typed=$cur
    case ${words[cword - 1]} in
    '>' | '<' | '>>' | '2>' | '&>' | '2>>')
        _logsh_files
        return
        ;;
    esac
    if [[ -n $wanted ]]; then
        _logsh_values "$wanted"
    elif [[ -z $ended && $cur == --*=* ]]; then
        _logsh_find "${cur%%=*}"
        prefix=${cur%%=*}= typed=${cur#*=}
        _logsh_values "$kind"
    elif [[ -z $ended && $cur == -* || -z $commands && -z ${arguments[count]} ]]; then
        [[ -n $ended ]] && return
        for ((i = 0; i < ${#options[@]}; i++)); do
            case $given in *" $i "*) continue ;; esac
            name=${options[i]%%|*}
            for word in ${name#\*}; do
                # Short ones only where they are asked for: each has a long one that says what it does.
                [[ $word == --* || $cur == -? || $cur == - ]] && _logsh_offer "$word"
            done
        done
    elif [[ -n $commands ]]; then
        # Unquoted to be split, as above.
        _logsh_offer $commands
    elif [[ ${arguments[count]} == '*command' ]]; then
        _logsh_command "$cword"
        return
    else
        kind=${arguments[count]}
        _logsh_values "${kind#\*}" "$before"
    fi

    # Readline replaces only what follows the last character at which it cuts words.
    case $cur in [\"\']*) return ;; esac
    local cuts='' kept
    [[ $COMP_WORDBREAKS == *:* ]] && cuts=:
    [[ $COMP_WORDBREAKS == *=* ]] && cuts=$cuts=
    [[ -n $cuts ]] || return
    kept=${cur%"${cur##*[$cuts]}"}
    for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do
        COMPREPLY[i]=${COMPREPLY[i]#"$kept"}
    done
}

if type compopt >/dev/null 2>&1; then
    complete -F _logsh logsh
else
    complete -o default -F _logsh logsh
fi
